"""What a peer is doing, as a small file that its daemon rewrites and anyone on the machine may read."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from folkmoot.errors import LocalError
from folkmoot.peer.durable import replace
from folkmoot.peer.home import Home

__all__ = ["PeerStatus", "PrivacyStatus", "TaskStatus", "read_status", "write_status"]

TaskPhase = Literal[
    "waiting",
    "training",
    "committing",
    "exchanging",
    "freezing",
    "unmasking",
    "reducing",
    "signing",
    "done",
    "paused",
]
PeerState = Literal["starting", "idle", "running", "stopping"]


class PrivacyStatus(msgspec.Struct, kw_only=True):
    """What this peer's contributions to a task tell of its dataset, in differential privacy."""

    dataset: int
    unit: str
    """``"member"`` or ``"record"``."""
    delta: float
    planned: float | None
    """Epsilon of all planned rounds; ``None`` where no noise is added, and nothing is promised."""
    releases: int
    """Contributions let go so far."""
    spent: float | None
    """Their epsilon."""
    limit: float | None
    """What the grant on the ledger lets the task spend."""
    allowed: int | None
    """How many contributions that pays for."""


class TaskStatus(msgspec.Struct, kw_only=True):
    """One task, as this peer sees it."""

    task: int
    name: str = ""
    round: int = 0
    """The round being made, from 1; the last one when done."""
    rounds: int = 0
    attempt: int = 0
    phase: TaskPhase = "waiting"
    reason: str = ""
    """Why it waits or is paused, in words: "2 of 3 members; waits for one more"."""
    norm: float | None = None
    """L2 norm of this peer's last contribution; ``None`` before the first, or when it only helps."""
    privacy: PrivacyStatus | None = None
    """``None`` where neither the policy nor the grant speaks of epsilon."""
    metrics: dict[str, list[tuple[int, float]]] = msgspec.field(default_factory=dict)
    """For each metric of the moot, (round, value) in ascending rounds."""


class PeerStatus(msgspec.Struct, kw_only=True):
    """A peer at one moment."""

    name: str
    pid: int
    member: int | None = None
    """Index on the ledger; ``None`` until it has joined."""
    endpoint: str = ""
    """Hex of the 32 bytes of the EndpointId."""
    time: float = 0.0
    """Unix seconds when this was written."""
    state: PeerState = "starting"
    sandbox: Literal["bubblewrap", "none"] | None = None
    """What the code of tasks runs in; ``None`` until the peer runs. Whether one can be made here the tasks say."""
    tasks: list[TaskStatus] = msgspec.field(default_factory=list)
    bytes_sent: int = 0
    bytes_received: int = 0
    errors: list[str] = msgspec.field(default_factory=list)
    """The last few, newest last."""


def write_status(home: Home, status: PeerStatus) -> None:
    """Put ``status`` in place of the last one, atomically; not forced to disk, it is worthless after a crash."""
    replace(home.status_file, msgspec.json.encode(_finite(status)) + b"\n", durable=False)


def read_status(home: Home) -> PeerStatus | None:
    """The last status written, or ``None`` when this peer never ran. Raises ``LocalError`` if it is malformed."""
    try:
        raw = home.status_file.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(raw, type=PeerStatus)
    except msgspec.DecodeError as error:
        raise LocalError(f"{home.status_file} is malformed ({error}); it is safe to delete") from None


def _finite(status: PeerStatus) -> PeerStatus:
    """Without the points that JSON cannot carry: a metric may be undefined (nan) in a round."""
    tasks = [
        msgspec.structs.replace(
            task, metrics={k: [p for p in v if math.isfinite(p[1])] for k, v in task.metrics.items()}
        )
        for task in status.tasks
    ]
    return msgspec.structs.replace(status, tasks=tasks)
