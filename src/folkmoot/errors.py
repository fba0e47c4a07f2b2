"""Every error a caller of Folkmoot can meet, in one small tree.

The first division says whose side broke the rule: ``LocalError`` is something the user or this machine can
mend (a file, a flag, a full disk); ``RemoteError`` is something another member, or a file from elsewhere, did.
A message says what was wrong, where, and what to do.
"""

import errno

__all__ = [
    "ChainBusy",
    "ChainError",
    "DataError",
    "DiskError",
    "FolkmootError",
    "IntegrityError",
    "JournalError",
    "LedgerDiskError",
    "LedgerRefused",
    "LocalError",
    "NetworkError",
    "ProtocolError",
    "RemoteError",
    "SandboxError",
    "StoreError",
    "TaskError",
    "refusal_of",
]

_FULL = "the disk is full; free some space, and repeat"
_REFUSALS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: "this user's share of the disk is used up; free some space, and repeat",
    errno.EFBIG: "a file may not grow so large here; free some space or raise the limit (ulimit -f), and repeat",
    errno.EROFS: "the file system can only be read; mount it for writing, and repeat",
    errno.EACCES: "this user may not; give it the right to read and write there",
    errno.EPERM: "this user may not; give it the right to read and write there",
    errno.ENOENT: "there is no such file or folder",
    errno.ENOTDIR: "a part of that path is a file where a folder is due",
    errno.EMFILE: "this process has too many files open; raise the limit (ulimit -n)",
    errno.EIO: "the disk gives errors; see the system's log",
    "SQLITE_FULL": _FULL,
    "SQLITE_BUSY": "another process holds it; is one stopped?",
    "SQLITE_LOCKED": "another process holds it; is one stopped?",
    "SQLITE_READONLY": "it can only be read; give this user the right to write it and its folder",
    "SQLITE_CANTOPEN": "it cannot be opened; is there such a folder, and may this user write there?",
    "SQLITE_IOERR": "the disk refuses; is it full, or does the system's log speak of errors?",
    "SQLITE_CORRUPT": "its content is damaged",
    "SQLITE_NOTADB": "its content is damaged",
}


class FolkmootError(Exception):
    """The root of all errors that Folkmoot raises on purpose."""


class LocalError(FolkmootError):
    """Something on this machine: configuration, a file, the disk."""


class DataError(LocalError):
    """A dataset is missing or malformed; the message names file, line and column."""


class DiskError(LocalError):
    """The disk or the file system of this machine refuses to give or to take bytes."""

    @classmethod
    def of(cls, error: OSError, path: object = None) -> "DiskError":
        """What an operating system refused, with the path and what to do."""
        return cls(f"{path or error.filename or 'this machine'}: {refusal_of(error)}")


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


class ChainBusy(ChainError):
    """Another process holds the ledger file; nothing was appended, and the call may be repeated."""


class LedgerDiskError(ChainError, DiskError):
    """This machine's disk refuses the file of a chain: nobody else is at fault."""


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


def refusal_of(error: OSError | Exception) -> str:
    """Why an operating system, or SQLite, refused, and what to do about it."""
    name = str(getattr(error, "sqlite_errorname", ""))
    known = getattr(error, "errno", None) if not name else "_".join(name.split("_")[:2])
    return _REFUSALS.get(known) or str(getattr(error, "strerror", None) or error)
