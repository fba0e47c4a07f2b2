"""A blob on its way in: verified chunk by chunk, and taken up again where it stopped."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from folkmoot.digest import CHUNK, Hash
from folkmoot.errors import IntegrityError, StoreError
from folkmoot.store._disk import sync_directory, translated, write_at
from folkmoot.store.manifest import Manifest

__all__ = ["Partial"]


class Partial:
    """A blob being fetched. Made by ``Store.begin``; close it, or use it in a ``with``.

    The file holds chunks at their places and holes between them. No list of what has arrived is kept: on opening,
    every chunk is checked against its hash, so neither a torn write nor a lost one is ever taken for data. Two
    processes that fetch the same blob at once write the same verified bytes to the same places.
    """

    def __init__(self, name: Hash, manifest: Manifest, source: Path, target: Path, done: Callable[[], None]):
        self.name = name
        self.manifest = manifest
        self._source = source
        self._target = target
        self._done = done
        with translated("opening", source):
            self._file: int | None = os.open(source, os.O_RDWR | os.O_CREAT, 0o600)
            before = os.fstat(self._file).st_size
            os.ftruncate(self._file, manifest.size)
        self._missing = set(range(len(manifest.chunks)))
        if before:
            self._missing = {index for index in self._missing if not self._holds(index)}

    def _holds(self, index: int) -> bool:
        piece = os.pread(self._descriptor, self.manifest.length(index), index * CHUNK)
        return self.manifest.fits(index, piece)

    @property
    def _descriptor(self) -> int:
        if self._file is None:
            raise StoreError(f"the partial blob {self.name.hex()} is closed; begin it again")
        return self._file

    def missing(self) -> list[int]:
        """The indices of the chunks still to come, ascending."""
        return sorted(self._missing)

    def write(self, index: int, data: bytes | memoryview) -> None:
        """Take chunk ``index``. Raises ``IntegrityError`` if it is not that chunk, ``StoreError`` on a full disk."""
        if not 0 <= index < len(self.manifest.chunks):
            raise IntegrityError(f"blob {self.name.hex()} has no chunk {index}")
        if not self.manifest.fits(index, data):
            raise IntegrityError(f"chunk {index} of blob {self.name.hex()} is not what its hash says")
        with translated("writing", self._source):
            write_at(self._descriptor, data, index * CHUNK)
        self._missing.discard(index)

    def finish(self, *, durable: bool = False) -> None:
        """Make it a blob, at once and whole. Raises ``StoreError`` while chunks are missing."""
        if self._missing:
            raise StoreError(f"blob {self.name.hex()} still misses {len(self._missing)} chunks")
        with translated("finishing", self._target):
            if durable:
                os.fsync(self._descriptor)
            self._target.parent.mkdir(exist_ok=True)
            try:
                os.replace(self._source, self._target)
            except FileNotFoundError:
                # Another process finished the same blob first: its bytes are these bytes.
                if not self._target.exists():
                    raise
            if durable:
                sync_directory(self._target.parent)
        self.close()

    def abandon(self) -> None:
        """Throw away what has arrived."""
        self.close()
        self._source.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file; what has arrived stays for the next ``begin``."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
            self._done()

    def __enter__(self) -> Partial:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
