"""A moot round a table: every member's real masks and envelope for one attempt, and all that they say of them."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property

import numpy as np
from coalition import Coalition
from fault_words import exchange_secret, shared
from numpy.typing import NDArray

from folkmoot.digest import Hash, blob_hash
from folkmoot.round.events import Key
from folkmoot.round.groups import sign
from folkmoot.round.layout import make_layout
from folkmoot.round.masking import Masking, Place
from folkmoot.round.plan import make_plan
from folkmoot.round.reduce import Made, mask_shards, sum_row
from folkmoot.task.policy import Policy

CHAIN, CONTRACT = 31337, "0x" + "42" * 20
PARENT = bytes(range(32))
COUNT = 20_000
LAYOUT = make_layout({"w": (COUNT,)}, {"w": -10}, {}, 16)
POLICY = Policy(secrecy="sums", min_members=3)


def bits(members: Iterable[int]) -> int:
    return sum(1 << member for member in members)


class Table:
    """Members 0 to n - 1 in one attempt, each with the envelopes of all others.

    ``parents`` says who was shown another parent state than the rest.
    """

    def __init__(self, n: int, *, attempt: int = 0, parents: Mapping[int, Hash] | None = None) -> None:
        self.members = tuple(range(n))
        self.key = Key(1, 1, attempt)
        self.plan = make_plan(self.members, PARENT, attempt, POLICY, dealt=self.members)
        parents = parents or {}
        self.maskings = {m: self.masking(m, parents.get(m, PARENT)) for m in self.members}
        self.envelopes = {m: masking.envelope() for m, masking in self.maskings.items()}

    def masking(self, member: int, parent: Hash = PARENT, keys_of: int | None = None) -> Masking:
        """As the member's process makes it when the attempt begins; or somebody else in its place, with other keys."""
        keys = member if keys_of is None else keys_of
        place, secret = Place(CHAIN, CONTRACT, self.key, parent), blob_hash(exchange_secret(keys))
        return Masking(member, place, self.plan, secret, functools.partial(shared, keys))

    def pass_envelopes(self) -> Table:
        """Everyone takes everyone's envelope."""
        for masking in self.maskings.values():
            for dealer, envelope in self.envelopes.items():
                masking.take_envelope(dealer, envelope, whole=True)
        return self

    @staticmethod
    def words(member: int) -> NDArray[np.int64]:
        """What a member has to say: nothing like noise, and nobody else's."""
        return (np.arange(COUNT, dtype=np.int64) + 7 * member) % 100

    @cached_property
    def sent(self) -> dict[int, bytes]:
        """Everyone's masked words."""
        return {m: self.masked(m) for m in self.members}

    def masked(self, member: int) -> bytes:
        made = Made(self.words(member), np.ones(LAYOUT.side, dtype=np.int64), 1.0)
        (shard,) = mask_shards(made, LAYOUT, 1, len(self.members), self.maskings[member].masks)
        return shard

    def total(self, seeds: Mapping[int, Mapping[int, bytes]]) -> NDArray[np.int64]:
        """The value words of the sum of those whose ``seeds`` these are, without the masks that they make."""
        masks = [(sign(dealer, target), seed) for dealer, told in seeds.items() for target, seed in told.items()]
        blobs = [self.sent[member] for member in sorted(seeds)]
        return sum_row(blobs, 0, LAYOUT, 1, len(self.members), masks)[:COUNT]

    def plain(self, members: Collection[int]) -> NDArray[np.int64]:
        """The sum of what they had to say."""
        return np.sum([self.words(m) for m in members], axis=0)

    def coalition(self, members: Iterable[int] = ()) -> Coalition:
        """These members, with all that was sent before survivors were fixed."""
        secrets = {m: made for m in members if (made := self.maskings[m].secrets)}
        return Coalition(Place(CHAIN, CONTRACT, self.key, PARENT), self.plan, secrets, self.envelopes)

    def tell_all(self, coalition: Coalition, survivors: int, *, silent: Collection[int] = ()) -> None:
        """Everyone but the silent gives out all it has, now that these are the survivors."""
        for member, masking in self.maskings.items():
            if member not in silent:
                coalition.hear_seeds(member, masking.release(survivors))
                for dealer in self.members:
                    coalition.hear_shares(member, dealer, masking.shares(dealer, survivors))
