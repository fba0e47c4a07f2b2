"""What members put to the vote, as values and as sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from folkmoot.ledger.address import checksum_address
from folkmoot.ledger.records import Standing, called

__all__ = ["STEERED", "Kind", "Motion", "Rules", "sentence"]


class Kind(IntEnum):
    """What a motion asks for, and its three words; those it has no use for are zero."""

    ADMIT = 1
    """The voucher's address: its holder may join, once, for as long as a window lasts from then on."""
    REMOVE = 2
    """A member."""
    REKEY = 3
    """A member, and its new main account."""
    STEER = 4
    """A task, and its standing."""
    BOUND = 5
    """The fewest ``min_members`` of tasks proposed later, and 1 where they must be secret."""
    WEIGH = 6
    """A member, and the weight of its vote."""
    RULES = 7
    """Percent for ordinary motions, for grave ones, and the window in seconds."""
    RETIRE = 8
    """The successor's chain, its address, and the hash of the state that it takes over."""
    ENDOW = 9
    """A task, and the points that are made for its bounty."""

    @property
    def grave(self) -> bool:
        """Whether it takes the larger majority."""
        return self in (Kind.ADMIT, Kind.REMOVE, Kind.REKEY, Kind.WEIGH, Kind.RULES, Kind.RETIRE)


@dataclass(frozen=True)
class Motion:
    """One motion, as the ledger has it."""

    id: int
    mover: int
    kind: Kind
    words: tuple[int, int, int]
    text: bytes
    """32 bytes: hash of the reasons given, a blob; zeros for none."""
    deadline: int
    """Ledger seconds; no vote counts after that."""
    ayes: int
    """Bitmap of members."""
    noes: int
    done: bool
    """Whether it was enacted."""
    passed: bool
    """Whether, as far as votes go, it can be."""

    window: int = 0
    """Seconds of its window: for as long after ``deadline`` it can be enacted."""

    def settled(self, now: float) -> bool:
        """Whether nothing can come of it any more at ledger time ``now``: no vote, and nothing enacted."""
        return self.done or now >= self.deadline + self.window

    def state(self, now: float) -> str:
        """``enacted``, ``passed``, ``open``, or ``lapsed``, at ledger time ``now``."""
        if self.done:
            return "enacted"
        if self.passed:
            return "passed" if now < self.deadline + self.window else "lapsed"
        return "open" if now < self.deadline else "lapsed"


@dataclass(frozen=True)
class Rules:
    """How motions pass: what is for one must outweigh so many percent of all members."""

    ordinary: int = 50
    grave: int = 66
    window: int = 7 * 86_400
    """Seconds in which votes count, and as many again in which it can be enacted."""

    @property
    def words(self) -> tuple[int, int, int]:
        """As the contract takes them."""
        return self.ordinary, self.grave, self.window


def sentence(motion: Motion, names: Mapping[int, str]) -> str:
    """What the motion asks for, in words; ``names`` of members by index."""
    a, b, c = motion.words
    who = names.get(a, called(a))
    words: dict[Kind, Callable[[], str]] = {
        Kind.ADMIT: lambda: f"admit the holder of the voucher {_address(a)}",
        Kind.REMOVE: lambda: f"remove {who}",
        Kind.REKEY: lambda: f"give {who} the main account {_address(b)}",
        Kind.STEER: lambda: f"{STEERED.get(b, f'put into standing {b}')} task {a}",
        Kind.BOUND: lambda: (
            f"allow only tasks with at least {a} members in each round" + (" and secret contributions" if b else "")
        ),
        Kind.WEIGH: lambda: f"give the vote of {who} the weight {b}",
        Kind.RULES: lambda: f"pass motions with more than {a}% (grave ones {b}%) within {c} seconds",
        Kind.RETIRE: lambda: f"move to {_address(b)} on chain {a}, with the state {c.to_bytes(32, 'big').hex()[:12]}",
        Kind.ENDOW: lambda: f"make {b} points for the bounty of task {a}",
    }
    return words[motion.kind]()


STEERED: Mapping[int, str] = {Standing.ADOPTED: "adopt", Standing.PAUSED: "pause", Standing.STOPPED: "stop"}
"""What a motion of the kind STEER does to a task, by the standing that it asks for."""


def _address(value: int) -> str:
    return checksum_address(value.to_bytes(20, "big")) if value < 1 << 160 else f"{value:#x}, which is no address"
