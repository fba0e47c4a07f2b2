"""How many bytes the store takes, without walking it each time."""

from __future__ import annotations

import os
import time
from pathlib import Path
from threading import Lock

__all__ = ["Usage"]

_SETTLED_NANOSECONDS = 2_000_000_000


class Usage:
    """Sums file sizes by directory and looks again only into directories whose time of change has moved.

    Other processes put blobs into the same store, so a counter in memory would drift from the truth; a directory's
    time of change moves with every file that comes or goes. File systems stamp it with a coarse clock, so a
    directory that changed within the last two seconds is looked into again.
    """

    def __init__(self, root: Path):
        self._root = root
        self._known: dict[str, tuple[int, int]] = {}
        self._lock = Lock()

    def total(self) -> int:
        """Bytes of all blobs and partial blobs."""
        with self._lock:
            prefixes = [entry.path for entry in os.scandir(self._root / "blobs") if entry.is_dir()]
            known = {path: self._directory(path) for path in prefixes}
            self._known = known
        return sum(size for _, size in known.values()) + _bytes_in(str(self._root / "partial"))

    def _directory(self, path: str) -> tuple[int, int]:
        changed = os.stat(path).st_mtime_ns
        before = self._known.get(path)
        if before is not None and before[0] == changed:
            return before
        settled = time.time_ns() - changed > _SETTLED_NANOSECONDS
        return (changed if settled else -1, _bytes_in(path))


def _bytes_in(path: str) -> int:
    total = 0
    for entry in os.scandir(path):
        try:
            total += entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            continue
    return total
