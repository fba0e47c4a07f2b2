"""Members who put together all that they have of one attempt's masks, and try to read somebody's words with it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from folkmoot.errors import IntegrityError
from folkmoot.round.envelope import Envelope
from folkmoot.round.fixed import Layout
from folkmoot.round.groups import sign
from folkmoot.round.layout import masked_width, packed_bytes
from folkmoot.round.masking import Place, context_of
from folkmoot.round.masks import Unsigned, add_masks, signed, unpack_bits
from folkmoot.round.plan import Plan
from folkmoot.round.seeds import Secrets

UNIFORM = 403.0
"""What the statistic of ``chi_squared`` exceeds with a probability of 1e-8 for each byte, where words are uniform."""


def chi_squared(words: Unsigned, width: int) -> float:
    """The statistic of the words' lowest or of their highest byte, the larger; each has 255 degrees of freedom."""
    found = []
    for shift in (0, width - 8):
        taken = words >> words.dtype.type(shift) & words.dtype.type(255)
        counts = np.bincount(taken.astype(np.int64), minlength=256)
        expected = len(words) / 256
        found.append(float(((counts - expected) ** 2 / expected).sum()))
    return max(found)


@dataclass
class Coalition:
    """Some members of a mask group, or none: then it is whoever listens.

    It has its members' ``secrets``, all envelopes (``sealed``), the boxes that its members can open, and whatever seeds
    and shares it hears of.
    """

    place: Place
    plan: Plan
    secrets: Mapping[int, Secrets]
    sealed: Mapping[int, bytes]
    seeds: dict[tuple[int, int], bytes] = field(default_factory=dict)
    """Told seeds, by dealer and target."""
    shares: dict[tuple[int, int], dict[int, bytes]] = field(default_factory=dict)
    """By dealer and target the shares of each holder."""

    def __post_init__(self) -> None:
        self._envelopes = {dealer: self._envelope(dealer, data) for dealer, data in self.sealed.items()}
        for secrets in self.secrets.values():
            for envelope in self._envelopes.values():
                # what does not open is the box of a member in another context, or none of its own
                with contextlib.suppress(IntegrityError, ValueError):
                    self.hear_shares(secrets.me, envelope.dealer, envelope.open_box(secrets))

    def _envelope(self, dealer: int, data: bytes) -> Envelope:
        near = self.plan.neighbours[dealer]
        return Envelope.parse(data, context_of(self.place, self.plan, dealer), dealer, near)

    def hear_seeds(self, dealer: int, seeds: Mapping[int, bytes]) -> None:
        """Take seeds that somebody told, true or false: only those count that fit their envelope."""
        envelope = self._envelopes.get(dealer)
        for target, seed in seeds.items():
            if envelope is not None and envelope.check_seed(target, seed):
                self.seeds[dealer, target] = seed

    def hear_shares(self, holder: int, dealer: int, shares: Mapping[int, bytes]) -> None:
        """Likewise shares."""
        envelope = self._envelopes.get(dealer)
        for target, share in shares.items():
            if envelope is not None and envelope.check_share(holder, target, share):
                self.shares.setdefault((dealer, target), {})[holder] = share

    def seed(self, member: int, target: int) -> bytes | None:
        """The seed behind one mask of a member, if anything that is known leads to it: the self mask's, or, with
        another target, that of a pair, which either of the two may have dealt shares of."""
        pairs = {(member, target), (target, member)}
        for dealer, other in sorted(pairs):
            if dealer in self.secrets and other in self.secrets[dealer].seeds:
                return self.secrets[dealer].seeds[other]
            if (dealer, other) in self.seeds:
                return self.seeds[dealer, other]
            envelope = self._envelopes.get(dealer)
            shares = self.shares.get((dealer, other), {})
            if envelope is not None and len(shares) >= envelope.threshold:
                return envelope.recover(other, shares)
        return None

    def known(self, member: int) -> set[int]:
        """The targets of the member's masks that are known."""
        return {t for t in (member, *self.plan.neighbours[member]) if self.seed(member, t) is not None}

    def reads(self, member: int) -> bool:
        """Whether all masks of the member are known, so that its words lie open."""
        return self.known(member) == {member, *self.plan.neighbours[member]}

    def stripped(self, member: int, shard: bytes, layout: Layout) -> Unsigned:
        """What is left of a member's masked value words when every known mask is taken off; of a lone shard."""
        width, count = self.width(layout), layout.values
        words = unpack_bits(memoryview(shard)[: packed_bytes(count, width)], count, width)
        known = [(sign(member, t), seed) for t in sorted(self.known(member)) if (seed := self.seed(member, t))]
        add_masks(words, [(-way, seed) for way, seed in known], start=0)
        return words & words.dtype.type((1 << width) - 1)

    def read(self, member: int, shard: bytes, layout: Layout) -> NDArray[np.int64]:
        """The same as integers: the member's own words, where ``reads``."""
        return signed(self.stripped(member, shard, layout), self.width(layout))

    def sees_noise(self, member: int, shard: bytes, layout: Layout) -> bool:
        """Whether what is left cannot be told from uniform words."""
        return chi_squared(self.stripped(member, shard, layout), self.width(layout)) < UNIFORM

    def width(self, layout: Layout) -> int:
        return masked_width(layout.bits, len(self.plan.groups[0]))
