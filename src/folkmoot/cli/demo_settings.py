"""What the demo is made with: how many peers and rounds, who is who, what is guarded against."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from folkmoot.errors import LocalError

__all__ = ["ATTACKS", "HOSPITALS", "Attack", "Settings", "choose"]

HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
_PEERS = 5
_CLINICS, _GROUPED_CLINICS = 2, 3
"""Clinics of each hospital where one lies: eight members under a rule, or twelve, which makes three secret groups."""
_FEWEST_SECRET = 3
"""A sum of fewer contributions than this is no secret, and is never opened."""


class Attack(Enum):
    """What a liar does."""

    SIGN_FLIP = "sign-flip"
    GAUSSIAN = "gaussian"
    ZERO = "zero"
    LABEL_FLIP = "label-flip"


ATTACKS: Mapping[Attack, str] = {
    Attack.SIGN_FLIP: "sends ten times what it learned, the other way round",
    Attack.GAUSSIAN: "sends noise ten times as large as what it learned",
    Attack.ZERO: "sends zeros and learns nothing",
    Attack.LABEL_FLIP: "learns from the opposite of its diagnoses",
}
"""The same in words."""


@dataclass(frozen=True)
class Settings:
    """What the user chose."""

    peers: int
    rounds: int
    """Of training."""
    kill: bool
    seed: int
    private: bool = False
    """Whether contributions go in under masks."""
    attack: Attack | None = None
    """What one clinic does; ``None``: the members are the hospitals themselves, and none lies."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the peers: those with data, and others that only help."""
        helpers = self.peers - len(self.learners)
        return self.learners + tuple("helper" if i == 0 else f"helper{i + 1}" for i in range(helpers))

    @property
    def hospitals(self) -> tuple[str, ...]:
        """Names of the hospitals whose data take part."""
        return HOSPITALS if self.attack else HOSPITALS[: min(len(HOSPITALS), self.peers - 1)]

    @property
    def clinics(self) -> Mapping[str, tuple[str, ...]]:
        """For each hospital the names of the peers that have its data."""
        if self.attack is None:
            return {name: (name,) for name in self.hospitals}
        count = _GROUPED_CLINICS if self.grouped else _CLINICS
        return {name: tuple(f"{name}-{letter}" for letter in "abc"[:count]) for name in self.hospitals}

    @property
    def learners(self) -> tuple[str, ...]:
        """Names of the peers that have data."""
        return tuple(name for clinics in self.clinics.values() for name in clinics)

    @property
    def grouped(self) -> bool:
        """Whether masked contributions are summed in groups. The first round then only draws who is with whom."""
        return self.private and self.attack is not None

    @property
    def all_rounds(self) -> int:
        """Rounds until the model is final: of training, and the one that draws groups."""
        return self.rounds + self.grouped

    @property
    def half(self) -> int:
        """The final round after which one is killed."""
        return self.rounds // 2

    @property
    def liar(self) -> str | None:
        """The peer that lies."""
        return random.Random(f"liar {self.seed}").choice(self.learners) if self.attack else None

    @property
    def victim(self) -> str | None:
        """The peer that is killed."""
        if not self.kill:
            return None
        return random.Random(self.seed).choice([name for name in self.learners if name != self.liar])

    @property
    def witness(self) -> str:
        """A peer that neither lies nor is killed."""
        return next(name for name in reversed(self.names) if name not in (self.liar, self.victim))


def choose(
    *, peers: int | None, rounds: int, kill: bool, seed: int, private: bool = False, attack: Attack | None = None
) -> Settings:
    """What comes of the command's options. Raises ``LocalError`` where they do not go together."""
    # three groups of four take all twelve: without one of them the others would wait
    kill = kill and not (private and attack)
    settings = Settings(peers or _PEERS, rounds, kill, seed, private, attack)
    least, why = _least(settings)
    if peers is not None and peers < least:
        raise LocalError(f"--peers {peers} are too few: {why}; take {least} or more")
    return replace(settings, peers=peers or max(_PEERS, least))


def _least(settings: Settings) -> tuple[int, str]:
    """The fewest peers that these settings take, and why."""
    if settings.attack:
        count = len(settings.learners)
        return count, f"the patients of {len(HOSPITALS)} hospitals are dealt to {count} clinics"
    if settings.private:
        killed = " and one is killed" if settings.kill else ""
        why = f"no sum of fewer than {_FEWEST_SECRET} contributions is opened, one peer has no data{killed}"
        return 1 + _FEWEST_SECRET + settings.kill, why
    return 3, "of two peers neither can go on without the other"
