"""One round of a rehearsal: what peers would ask their workers for, asked of one worker by the plan of a real round."""

from __future__ import annotations

import secrets
import time

from msgspec.structs import replace

from folkmoot.digest import Hash
from folkmoot.peer.asks import Advance, Advanced, Contribute, Made, Prepared, Summed, SumUp
from folkmoot.peer.workbench import COMPUTE_SECONDS, Workbench
from folkmoot.round.events import Row
from folkmoot.round.groups import NO_BEACON
from folkmoot.round.layout import Layout
from folkmoot.round.plan import Plan, make_plan
from folkmoot.task.policy import Policy

__all__ = ["RehearsedRound"]

_PATIENCE = 4.0
"""How many times ``train_seconds`` a training may take before it is ended: each attempt at a real round has twice the
time of the one before. At least a minute, whatever the policy says."""


class RehearsedRound:
    """One round of members who have these datasets in turn."""

    def __init__(self, number: int, start: Prepared, bench: Workbench, members: int, policy: Policy) -> None:
        """Round ``number`` from ``start``; so many ``members`` have the datasets that contribute, in turn."""
        self.number, self._start, self._bench = number, start, bench
        self.model = b""
        self.size = 0
        """Bytes of the last contribution, on the wire."""
        self.notes: list[str] = []
        """What is to be said of the trainings."""
        self._layout: Layout = start.layout
        self._policy = policy
        everybody = tuple(range(members))
        dealt = everybody if self._policy.secret else ()
        self._beacon = secrets.token_bytes(32) if self._policy.grouped and number > 1 else NO_BEACON
        self._plan: Plan = make_plan(everybody, start.state, 0, self._policy, dealt=dealt, beacon=self._beacon)
        everyone = (1 << members) - 1
        self._rows = self._plan.rows(everyone, everyone)
        self._mask = secrets.token_bytes(16)
        self._made: dict[int, list[tuple[Hash, ...]]] = {size: [] for size in self._groups.values()}
        """For each size of a mask group, the shards of each dataset's contribution."""
        self._sums: tuple[Hash, ...] = ()

    @property
    def _groups(self) -> dict[int, int]:
        """The size of each member's mask group."""
        return {member: len(self._plan.group_of(member)) for row in self._rows for member in row}

    def contribute(self, path: str) -> None:
        """The contribution made of a dataset."""
        most = self._policy.train_seconds
        ask = Contribute(self._start.state, path, self.number, secrets.token_bytes(32), self._plan.shards, bytes(32))
        began = time.perf_counter()
        for size in self._made:  # trained once: the worker keeps what it masks
            noise = secrets.token_bytes(32)
            ask = replace(ask, noise=noise, group=size, masks=((1, self._mask),) if size else ())
            made = self._bench.ask(ask, Made, max(COMPUTE_SECONDS / 10, _PATIENCE * most))
            self._made[size].append(made.shards)
            self.size = sum(map(self._bench.store.size, made.shards))
        took = time.perf_counter() - began
        if took > most:
            self.notes.append(
                f"round {self.number}: training on {path} took {took:.1f} s, and commits close after"
                f" policy.train_seconds={most}: the others would go on without it"
            )

    def contribute_zeros(self) -> None:
        """A contribution of zeros, of one example."""
        import numpy as np

        from folkmoot.round import fixed, reduce

        layout, shards = self._layout, self._plan.shards
        side = np.zeros(layout.side, dtype=np.int64)
        side[0] = 1
        made = reduce.Made(np.zeros(layout.values, dtype=np.int64), side, 0.0)
        for size in self._made:
            packed = (
                reduce.mask_shards(made, layout, shards, size, ((1, self._mask),))
                if size
                else fixed.encode_shards(made.values, made.side, layout, shards)
            )
            self._made[size].append(tuple(map(self._bench.store.put, packed)))
            self.size = sum(map(len, packed))

    def sum(self) -> None:
        """The sums of all shards, over all rows."""
        groups, blobs = self._groups, {}
        for shard in range(self._plan.shards):
            blobs[shard] = tuple(
                tuple(self._made[groups[m]][m % len(self._made[groups[m]])][shard] for m in row) for row in self._rows
            )
        rows = tuple(
            Row(row, groups[row[0]], ((1, self._mask),) * len(row) if self._plan.secret else ()) for row in self._rows
        )
        ask = SumUp(self._start.state, self._plan.shards, blobs, rows)
        summed = self._bench.ask(ask, Summed).sums
        self._sums = tuple(summed[shard] for shard in range(self._plan.shards))

    def advance(self) -> Advanced:
        """The next state, and the metrics of the one before."""
        sizes = tuple(map(len, self._rows))
        ask = Advance(self._start.state, self._sums, sizes, 0, self._beacon)
        advanced = self._bench.ask(ask, Advanced)
        self.model = self.model or advanced.model
        return advanced
