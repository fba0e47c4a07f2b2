"""What a dataset's privacy may still be spent on: the peer's own accounting, whatever others say or do."""

from __future__ import annotations

from folkmoot.ledger.records import Grant
from folkmoot.peer.compute import Compute
from folkmoot.peer.context import PeerContext
from folkmoot.round.events import Key
from folkmoot.task.policy import Policy

__all__ = ["Spending"]


class Spending:
    """One task's spending. The journal knows what was let go, the grant on the ledger how much may be."""

    def __init__(self, task: int, peer: PeerContext, compute: Compute) -> None:
        self._task = task
        self._peer = peer
        self._compute = compute
        self._allowed: dict[Grant, int] = {}
        """How many releases each grant pays for."""

    async def allows(self, grant: Grant, path: str, key: Key | None) -> bool:
        """Whether the contribution to the attempt ``key`` stays within the grant's limit.

        Always without a limit. One that was let go already is not counted twice.
        """
        policy = self._compute.policy
        if grant.epsilon is None or policy is None:
            return True
        if grant not in self._allowed:
            self._allowed[grant] = await self._compute.affordable(path, grant.epsilon)
        but = (key.round, key.attempt) if key is not None else (0, 0)
        let_go = self._peer.journal.releases(self._task, grant.dataset, attempts=counts_attempts(policy), but=but)
        if let_go < self._allowed[grant]:
            return True
        self._peer.complain(
            f"task {self._task} has spent what dataset {grant.dataset} may: epsilon {grant.epsilon:g} pays for"
            f" {self._allowed[grant]} contributions, and {let_go} were made; see: folkmoot privacy {self._task}",
            task=self._task,
        )
        return False


def counts_attempts(policy: Policy) -> bool:
    """Whether two attempts at one round let two things go: they do where each has noise of its own."""
    return policy.noisy
