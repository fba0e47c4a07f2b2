"""Every error a caller of Folkmoot can meet, in one small tree.

The first division says whose side broke the rule: ``LocalError`` is something the user or this machine can
mend (a file, a flag, a full disk); ``RemoteError`` is something another member, or a file from elsewhere, did.
A message says what was wrong, where, and what to do.
"""

__all__ = [
    "ChainError",
    "DataError",
    "FolkmootError",
    "IntegrityError",
    "JournalError",
    "LedgerRefused",
    "LocalError",
    "NetworkError",
    "ProtocolError",
    "RemoteError",
    "SandboxError",
    "StoreError",
    "TaskError",
]


class FolkmootError(Exception):
    """The root of all errors that Folkmoot raises on purpose."""


class LocalError(FolkmootError):
    """Something on this machine: configuration, a file, the disk."""


class DataError(LocalError):
    """A dataset is missing or malformed; the message names file, line and column."""


class TaskError(LocalError):
    """A task file does not load, breaks the Task protocol, raised, or overran its time."""

    where: str = ""
    """File and line of the task's own code, where it was that: ``task.py, line 12``."""


class StoreError(LocalError):
    """The blob store cannot take or give bytes: disk full, budget exceeded, no such blob."""


class JournalError(StoreError):
    """The journal of a peer cannot be read or written, or is not the one that belongs to it."""


class SandboxError(LocalError):
    """There is to be a sandbox for the code of tasks, and none can be made."""


class ChainError(LocalError):
    """The chain cannot be reached, opened or trusted."""


class LedgerRefused(LocalError):
    """The contract reverted the call; the message carries the contract's reason."""


class RemoteError(FolkmootError):
    """Another member, or bytes from elsewhere, broke the rules."""


class ProtocolError(RemoteError):
    """A message that does not fit its schema, its size bound or the moment it came."""


class IntegrityError(RemoteError):
    """Bytes that are not what their hash or signature says."""


class NetworkError(RemoteError):
    """A peer cannot be reached, or stopped answering."""
