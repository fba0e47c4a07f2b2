"""What a peer is doing, as a small file that its daemon rewrites and anyone on the machine may read.

The file is data for programs too: what is waited for and what went wrong are values with a kind, a time and a text, and
nobody needs to recognise them by how a sentence begins.
"""

from __future__ import annotations

import math
import os
import time
from typing import Literal

import msgspec

from folkmoot.errors import LocalError
from folkmoot.peer.durable import replace
from folkmoot.peer.home import Home
from folkmoot.round.events import WaitKind

__all__ = [
    "STALE_SECONDS",
    "Complaint",
    "ErrorKind",
    "Failure",
    "Link",
    "PeerStatus",
    "PrivacyStatus",
    "Step",
    "TaskPhase",
    "TaskStatus",
    "Waiting",
    "read_status",
    "write_status",
]

STALE_SECONDS = 5.0
"""A running peer writes its status every second; one that is so old was written by a peer that cannot, or is gone."""

TaskPhase = Literal[
    "waiting",
    "training",
    "committing",
    "exchanging",
    "freezing",
    "unmasking",
    "reducing",
    "signing",
    "measuring",
    "done",
    "paused",
    "failed",
]
"""What a peer does for a task. ``paused``: the members decided so, or too few take part. ``failed``: this peer cannot
do its part, and ``TaskStatus.failure`` says why; it goes on helping the others where it can."""
PeerState = Literal["starting", "idle", "running", "stopping"]
Step = Literal["load", "open", "train", "commit", "sum", "update", "unmask"]
"""The parts of a round in which a peer can fail: ``load`` the task's code, ``open`` the round's parent state, ``train``
on the member's data, ``commit``, ``sum`` contributions, make the next state (``update``), ``unmask`` sums."""
ErrorKind = Literal[
    "data",
    "disk",
    "host",
    "identity",
    "internal",
    "journal",
    "ledger",
    "local",
    "member",
    "network",
    "privacy",
    "sandbox",
    "task",
]
"""What an error is about: the member's ``data``, this machine's ``disk`` or a budget of it, the ``host`` of the chain,
an ``identity`` that two machines use, a mistake of Folkmoot's own (``internal``), the ``journal``, the ``ledger``, this
machine otherwise (``local``), another ``member``, the ``network``, the ``privacy`` that a grant lets be spent, the
``sandbox``, the ``task``'s own code."""


class Waiting(msgspec.Struct, kw_only=True):
    """What a task waits for."""

    kind: WaitKind
    text: str
    """In words: "waits for the commits of bert and carl"."""
    since: float
    """Unix seconds."""
    members: list[str] = msgspec.field(default_factory=list)
    """The names of the members that are waited for, where it is known who they are."""


class Failure(msgspec.Struct, kw_only=True):
    """Why this peer cannot do its part of a task. It goes when the same step succeeds."""

    kind: ErrorKind
    step: Step
    text: str
    since: float
    """Unix seconds when the step failed first."""
    last: float
    """Unix seconds when it failed last."""
    round: int = 0
    where: str = ""
    """File and line of the task's code, where it was that: ``task.py, line 12``."""


class Complaint(msgspec.Struct, kw_only=True):
    """An error that this peer shows until what it says is over."""

    kind: ErrorKind
    text: str
    since: float
    """Unix seconds when it was said first."""
    last: float
    """Unix seconds when it was said last."""
    task: int | None = None


class Link(msgspec.Struct, kw_only=True):
    """How this peer stands with another member's."""

    member: int
    name: str
    connected: bool = False
    how: Literal["direct", "relayed"] | None = None
    """The way that packets take now; ``None`` where there is no connection."""
    last_contact: float | None = None
    """Unix seconds when an exchange with it last went well."""
    last_failure: str = ""
    failed: float | None = None
    """Unix seconds of ``last_failure``."""
    sent: int = 0
    received: int = 0
    """Bytes."""


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
    """The round being made, from 1; the last one that trains when done, or while the final model is measured."""
    rounds: int = 0
    """How many train."""
    final: int = 0
    """How many of those are final."""
    measured: bool = False
    """Whether the final model was measured, on its held-out data, by everyone who came."""
    attempt: int = 0
    phase: TaskPhase = "waiting"
    waiting: Waiting | None = None
    """What the task waits for here, where it waits."""
    failure: Failure | None = None
    """Why this peer cannot do its part, where it cannot."""
    norm: float | None = None
    """L2 norm of this peer's last contribution; ``None`` before the first, or when it only helps."""
    store_bytes: int | None = None
    """What a round needs of ``blob_budget``, as far as this peer knows it; a smaller budget is refused."""
    privacy: PrivacyStatus | None = None
    """``None`` where neither the policy nor the grant speaks of epsilon."""
    metrics: dict[str, list[tuple[int, float]]] = msgspec.field(default_factory=dict)
    """For each metric of the moot, (round, value) in ascending rounds."""

    @property
    def reason(self) -> str:
        """Why nothing moves here, in words; empty where all goes its way."""
        said = self.failure or self.waiting
        return "" if said is None else said.text


class PeerStatus(msgspec.Struct, kw_only=True):
    """A peer at one moment."""

    name: str
    pid: int
    member: int | None = None
    """Index on the ledger; ``None`` until it has joined."""
    endpoint: str = ""
    """Hex of the 32 bytes of the EndpointId."""
    addresses: list[str] = msgspec.field(default_factory=list)
    """Where it listens: ``ip:port``, and the URL of its relay if it has one."""
    time: float = 0.0
    """Unix seconds when this was written."""
    state: PeerState = "starting"
    sandbox: Literal["bubblewrap", "none"] | None = None
    """What the code of tasks runs in; ``None`` until the peer runs. Whether one can be made here the tasks say."""
    tasks: list[TaskStatus] = msgspec.field(default_factory=list)
    peers: list[Link] = msgspec.field(default_factory=list)
    """The other living members, by index."""
    bytes_sent: int = 0
    bytes_received: int = 0
    errors: list[Complaint] = msgspec.field(default_factory=list)
    """What is wrong now, newest last."""

    @property
    def age(self) -> float:
        """Seconds since this was written."""
        return max(0.0, time.time() - self.time)

    @property
    def alive(self) -> bool:
        """Whether the process that wrote this is there, as far as its number tells."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True

    @property
    def stale(self) -> bool:
        """Whether what this says may have been over for a while, though its process is there."""
        return self.age > STALE_SECONDS


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
