"""How much of its ``blob_budget`` a peer needs for a round. Who has less could store neither the state that the round
starts from nor what the others contribute, and would find out in the middle of it."""

from __future__ import annotations

from dataclasses import dataclass

from folkmoot.errors import StoreError
from folkmoot.ledger import Moot
from folkmoot.ledger.records import TaskRecord
from folkmoot.peer.asks import Prepare, Prepared
from folkmoot.peer.home import Home
from folkmoot.peer.status import read_status
from folkmoot.round.envelope import envelope_bytes
from folkmoot.round.layout import Layout, sum_bytes
from folkmoot.round.plan import make_plan
from folkmoot.task.policy import Policy

__all__ = ["Room", "check_budget", "check_grant", "room_for"]

_RECORDS = 1 << 20
"""Bytes for the task's code and the records of many rounds, none of which is given up."""
_AMPLE = 64
"""A budget of so many states is enough for a round of any moot that does not cut contributions into shards."""


@dataclass(frozen=True)
class Room:
    """Bytes of blobs that a round needs at once."""

    kept: int
    """The task's first state and the one that the round starts from, its code, and the records of earlier rounds."""
    fresh: int
    """What comes in the round: contributions, sums, the next state."""

    @property
    def bytes(self) -> int:
        """All of it."""
        return self.kept + self.fresh


def room_for(state: int, layout: Layout, policy: Policy, members: int) -> Room:
    """What a round of so many ``members`` needs at most, with states of ``state`` bytes."""
    everyone = tuple(range(members))
    plan = make_plan(everyone, bytes(32), 0, policy, dealt=everyone)
    sizes = layout.shard_bytes(plan.shards, members if plan.secret else 0)
    held = max(sum(sizes[s] for s in plan.summed_by(member)) for member in everyone)
    envelope = envelope_bytes(members - 1) if plan.secret else 0
    all_of_them = (1 << members) - 1
    rows = [len(row) for row in plan.rows(all_of_them, all_of_them)]
    sums = sum(sum_bytes(s, layout, plan.shards, rows) for s in range(plan.shards)) if plan.shards > 1 else 0
    return Room(2 * state + _RECORDS, state + members * (held + envelope) + sum(sizes) + sums)


def check_budget(home: Home, task: int, needed: int, others: int = 0) -> None:
    """Raise ``StoreError`` where the budget of this home is below what a round of ``task`` needs, beside what the
    rounds of other tasks need."""
    budget, all_in_all = home.config.blob_budget, needed + others
    if budget < all_in_all:
        beside = f", and rounds of other tasks {others}" if others else ""
        raise StoreError(
            f"a round of task {task} needs {needed} bytes of blobs on this disk{beside}, and blob_budget in"
            f" {home.config_file} is {budget}: set it to {all_in_all} at least, better to several times as much, and"
            " start the peer again"
        )


def check_grant(home: Home, moot: Moot, record: TaskRecord) -> None:
    """Raise ``StoreError`` where a grant would have this peer take part in rounds for which it has no room.

    The running peer knows what they need; where none does, and the task's code is here, it is asked in the sandbox.
    """
    status, store, budget = read_status(home), home.store(), home.config.blob_budget
    known = next((task.store_bytes for task in status.tasks if task.task == record.id), None) if status else None
    if known is not None:
        return check_budget(home, record.id, known)
    if store.has(record.genesis) and store.size(record.genesis) * _AMPLE <= budget:
        return None
    if not store.has(record.bundle):
        return None
    from folkmoot.peer.workbench import Workbench

    with Workbench(store.get(record.bundle), home, [store]) as bench:
        policy = bench.load().policy
        # one that continues another task starts from a model of that one
        first = bench.ask(Prepare(record.genesis if store.has(record.genesis) else None), Prepared)
        state = (bench.store if bench.store.has(first.state) else store).size(first.state)
        check_budget(home, record.id, room_for(state, first.layout, policy, moot.member_count()).bytes)
