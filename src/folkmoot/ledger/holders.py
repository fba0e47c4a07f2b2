"""Who holds a SQLite file in write-ahead mode against all others, as far as the system tells."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["writer_of"]

_WRITE, _RECOVER = 120, 122
"""The bytes of the ``-shm`` file that stand for the right to write, to fold the log and to recover it."""
_SHOWN = 80


def writer_of(path: Path) -> str:
    """The process that has the right to write to the file at ``path``, in words; "another process" where the system
    does not say: only Linux lists its locks."""
    with suppress(OSError, ValueError):
        inode = os.stat(f"{path}-shm").st_ino
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if words[1] != "POSIX" or words[3] != "WRITE" or int(words[5].rpartition(":")[2]) != inode:
                continue
            first, last = int(words[6]), _RECOVER if words[7] == "EOF" else int(words[7])
            if first <= _RECOVER and last >= _WRITE and int(words[4]) != os.getpid():
                return _describe(int(words[4]))
    return "another process"


def _describe(pid: int) -> str:
    if pid <= 0:
        return "a process of another container"
    folder = Path("/proc", str(pid))
    command, state = "", ""
    with suppress(OSError):
        command = folder.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        state = folder.joinpath("stat").read_text().rpartition(")")[2].split()[0]
    named = f"process {pid}" + (f" ({command[:_SHOWN]})" if command else "")
    if state in ("T", "t"):
        return f"{named}, which is stopped: let it go on (kill -CONT {pid}) or end it (kill -9 {pid}); nothing is lost"
    return named
