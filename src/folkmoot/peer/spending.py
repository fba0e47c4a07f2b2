"""What a dataset's privacy may still be spent on: the peer's own accounting, whatever others say or do."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from folkmoot.ledger.records import Grant
from folkmoot.peer.compute import Compute
from folkmoot.peer.context import PeerContext
from folkmoot.peer.custody import Kept
from folkmoot.peer.status import PrivacyStatus, TaskStatus
from folkmoot.round.events import Key
from folkmoot.task.policy import Policy

__all__ = ["Spending"]


class Spending:
    """One task's spending. The journal knows what was let go, the grant on the ledger how much may be.

    What that costs the worker computes, which may be training just now; so it is asked beside everything else, through
    ``spawn``, and ``changed`` is called when the answer matters. Until it is known nothing is spent.
    """

    def __init__(
        self,
        status: TaskStatus,
        peer: PeerContext,
        compute: Compute,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        changed: Callable[[], Awaitable[None]],
    ) -> None:
        self._status = status
        self._peer = peer
        self._compute = compute
        self._spawn = spawn
        self._changed = changed
        self._asked: set[tuple[Grant, int]] = set()
        self._allowed: dict[Grant, int | None] = {}
        """How many releases each grant pays for."""

    def allows(self, grant: Grant, data: Kept, key: Key) -> bool:
        """Whether the contribution to the attempt ``key`` stays within the grant's limit.

        One that was let go already is not counted twice. To measure costs nothing, and takes a limit that pays for one
        contribution or more. Without a limit everything is allowed.
        """
        policy, task = self._compute.policy, self._status.task
        if policy is None or (policy.epsilon is None and grant.epsilon is None):
            return True
        count, line = self._peer.journal.releases, self._peer.line(grant.dataset)
        counted = count(task, line, policy.rounds, attempts=counts_attempts(policy))
        self._account(grant, data, counted, policy)
        if grant.epsilon is None:
            return True
        allowed = self._allowed.get(grant)
        if allowed is None:
            return False
        if policy.measures(key.round):
            return allowed > 0
        but = (key.round, key.attempt)
        let_go = count(task, line, policy.rounds, attempts=counts_attempts(policy), but=but)
        if let_go >= allowed:
            self._peer.complain(
                f"task {task} may not spend more of dataset {grant.dataset}: an epsilon of {grant.epsilon:g} pays for"
                f" {allowed} contributions, and {let_go} were made; see folkmoot privacy",
                kind="privacy",
                about=f"task {task} privacy",
                task=task,
            )
        return let_go < allowed

    def _account(self, grant: Grant, data: Kept, releases: int, policy: Policy) -> None:
        """Have the cost computed, once for each number of releases, and shown."""
        if (grant, releases) in self._asked:
            return
        self._asked.add((grant, releases))

        async def account() -> None:
            try:
                answer = await self._compute.account(data, releases, grant.epsilon)
            except BaseException:
                self._asked.discard((grant, releases))
                raise
            self._status.privacy = PrivacyStatus(
                dataset=grant.dataset,
                unit=policy.privacy_unit,
                delta=policy.delta,
                planned=_finite(answer.planned),
                releases=releases,
                spent=_finite(answer.spent),
                limit=grant.epsilon,
                allowed=answer.allowed,
            )
            if grant not in self._allowed:
                self._allowed[grant] = answer.allowed
                await self._changed()

        self._spawn(account())


def _finite(epsilon: float) -> float | None:
    return epsilon if math.isfinite(epsilon) else None


def counts_attempts(policy: Policy) -> bool:
    """Whether two attempts at one round let two things go: they do where each has noise of its own."""
    return policy.noisy
