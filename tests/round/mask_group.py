"""A mask group in memory: its members' secrets, envelopes and masked words, and how whoever is left unmasks the sum."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache, cached_property

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from folkmoot.round.envelope import Envelope, seal
from folkmoot.round.groups import NO_BEACON, neighbours, released
from folkmoot.round.masks import add_masks, pack_bits, signed, unpack_bits, unsigned
from folkmoot.round.seeds import Secrets, agree, mask_context

FIELDS = {
    "chain_id": 31337,
    "contract": bytes(range(20)),
    "task": 1,
    "round": 1,
    "attempt": 0,
    "parent": bytes(range(32)),
    "beacon": NO_BEACON,
}
BEACON = bytes(range(100, 132))


def context_of(members: Sequence[int], **changed: object) -> bytes:
    """The context of a group in the round of ``FIELDS``, but for what is ``changed``."""
    return mask_context(**{**FIELDS, "group": sum(1 << m for m in members), **changed})  # type: ignore[arg-type]


def exchange_secret(member: int) -> bytes:
    return b"exchange".ljust(30) + member.to_bytes(2, "big")


@cache
def exchange_public(member: int) -> bytes:
    return X25519PrivateKey.from_private_bytes(exchange_secret(member)).public_key().public_bytes_raw()


@cache
def agreed(low: int, high: int) -> bytes:
    return agree(exchange_secret(low), exchange_public(high))


def secrets_of(me: int, near: Sequence[int], context: bytes) -> Secrets:
    own = b"mask secret".ljust(30) + me.to_bytes(2, "big")
    return Secrets(context, me, tuple(near), own, lambda j: agreed(*sorted((me, j))))


class Group:
    """The ``members`` of one group in one attempt."""

    def __init__(self, members: Sequence[int], **changed: object) -> None:
        self.members = tuple(members)
        self.context = context_of(members, **changed)
        self.near = neighbours(members)
        self.secrets = {m: secrets_of(m, self.near[m], self.context) for m in members}

    @cached_property
    def envelopes(self) -> dict[int, Envelope]:
        return {m: Envelope.parse(seal(s), self.context, m, self.near[m]) for m, s in self.secrets.items()}

    def share(self, holder: int, dealer: int, target: int) -> bytes:
        return self.envelopes[dealer].open_box(self.secrets[holder])[target]

    def masked(self, member: int, words: NDArray[np.int64], width: int, *, side: bool = False) -> bytes:
        """What the member sends: its words with all its masks, packed."""
        sent = unsigned(words, width)
        add_masks(sent, self.secrets[member].masks, start=0, side=side)
        return pack_bits(sent, width)

    def unmasked(
        self,
        sent: dict[int, bytes],
        survivors: Collection[int],
        gone: Collection[int],
        liars: Collection[int],
        shape: tuple[int, int],
        *,
        side: bool = False,
    ) -> NDArray[np.int64]:
        """The sum of what the survivors ``sent``, by those not ``gone``; ``shape`` is count and width of the words.

        A survivor that is there releases its own seeds, which count if they fit their hash; all others are rebuilt from
        the shares of those who are there. Liars answer everything with other bytes.
        """
        count, width = shape
        total = unsigned(np.zeros(count, dtype=np.int64), width)
        for member in survivors:
            total += unpack_bits(sent[member], count, width)
        taken_off = []
        for dealer in self.members:
            for target in released(dealer, self.near[dealer], survivors):
                sign = -1 if dealer <= target else 1
                taken_off.append((sign, self._seed(dealer, target, gone, liars)))
        add_masks(total, taken_off, start=0, side=side)
        return signed(total, width)

    def _seed(self, dealer: int, target: int, gone: Collection[int], liars: Collection[int]) -> bytes:
        envelope = self.envelopes[dealer]
        if dealer not in gone:
            seed = self.secrets[dealer].seeds[target]
            told = bytes(reversed(seed)) if dealer in liars else seed
            if envelope.check_seed(target, told):
                return told
        shares = {h: self.share(h, dealer, target) for h in self.near[dealer] if h not in gone}
        return envelope.recover(target, {h: bytes(reversed(s)) if h in liars else s for h, s in shares.items()})
