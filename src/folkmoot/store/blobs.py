"""The store: a directory of blobs.

Layout: ``blobs/ab/<64 hex>`` whole blobs; ``partial/<64 hex>`` blobs being fetched; ``tmp/`` files being written;
``corrupt/<64 hex>`` blobs whose bytes went bad, moved aside; ``lent/<32 hex>/<64 hex>`` links for others to read.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial as bind
from pathlib import Path
from threading import Lock

from folkmoot.digest import CHUNK, HASH_BYTES, Hash
from folkmoot.errors import IntegrityError, StoreError
from folkmoot.store._disk import sync_directory, translated, write_file
from folkmoot.store.lent import Lent
from folkmoot.store.manifest import Manifest
from folkmoot.store.partial import Partial
from folkmoot.store.usage import Usage

__all__ = ["Problem", "Store"]

_NAME = re.compile(r"[0-9a-f]{64}")
_ROOMS = ("blobs", "partial", "tmp", "corrupt")
_LENT = "lent"
_STALE_SECONDS = 3600.0
_MANIFESTS_KEPT = 256


@dataclass(frozen=True)
class Problem:
    """A file of the store that is not what it should be."""

    path: Path
    reason: str


class Store:
    """Blobs under ``path``, at most ``budget`` bytes of them (``None``: as many as the disk takes).

    Safe for several threads and processes at once; what one puts, all have. Hashes are 32 bytes.
    """

    def __init__(self, path: Path, *, budget: int | None = None):
        self.root = Path(path)
        self.budget = budget
        self._manifests: OrderedDict[Hash, Manifest] = OrderedDict()
        self._open: Counter[Hash] = Counter()
        self._lock = Lock()
        with translated("opening the store", self.root):
            for room in _ROOMS:
                (self.root / room).mkdir(parents=True, exist_ok=True)
            self._sweep()
        self.lacking = 0
        """By how many bytes the last blob that did not fit exceeded the budget; who makes room sets it to 0."""
        self._usage = Usage(self.root)
        self._allowance = 0

    # Reading

    def path(self, name: Hash) -> Path:
        """Where the blob lies, whether or not it is there."""
        if len(name) != HASH_BYTES:
            raise StoreError(f"a blob's name has {HASH_BYTES} bytes, not {len(name)}")
        text = name.hex()
        return self.root / "blobs" / text[:2] / text

    def has(self, name: Hash) -> bool:
        """Whether the blob is here, whichever process put it."""
        return os.path.exists(self.path(name))

    def size(self, name: Hash) -> int:
        """The blob's size in bytes. Raises ``StoreError`` if it is not here."""
        try:
            return self.path(name).stat().st_size
        except FileNotFoundError as error:
            raise self._absent(name) from error

    def get(self, name: Hash) -> bytes:
        """The blob's bytes, checked. Raises ``StoreError`` if it is not here; ``IntegrityError`` if its bytes went
        bad, and then it is moved aside so that it can be fetched again."""
        data = self._read(name)
        manifest = Manifest.of(data)
        if manifest.name != name:
            raise self._spoilt(name)
        self._remember(name, manifest)
        return data

    def manifest(self, name: Hash) -> Manifest:
        """The blob's size and chunk hashes. Raises as ``get`` does."""
        with self._lock:
            known = self._manifests.get(name)
        if known is not None and self.has(name):
            return known
        try:
            manifest = Manifest.of_file(self.path(name))
        except FileNotFoundError as error:
            raise self._absent(name) from error
        if manifest.name != name:
            raise self._spoilt(name)
        self._remember(name, manifest)
        return manifest

    def chunks(self, name: Hash, first: int, count: int) -> bytes:
        """The bytes of ``count`` chunks from ``first`` on, checked. Raises as ``get`` does, and ``StoreError``
        where the blob has no such chunks."""
        manifest = self.manifest(name)
        if first < 0 or count < 1 or first + count > len(manifest.chunks):
            raise StoreError(f"blob {name.hex()} has {len(manifest.chunks)} chunks, not {first} to {first + count}")
        try:
            with self.path(name).open("rb") as file:
                file.seek(first * CHUNK)
                data = file.read(count * CHUNK)
        except FileNotFoundError as error:
            raise self._absent(name) from error
        view = memoryview(data)
        for index in range(first, first + count):
            at = (index - first) * CHUNK
            if not manifest.fits(index, view[at : at + CHUNK]):
                raise self._spoilt(name)
        return data

    def hashes(self) -> Iterator[Hash]:
        """The names of all blobs here, in no particular order."""
        for entry in self._entries():
            if _NAME.fullmatch(entry.name) and entry.parent.name == entry.name[:2]:
                yield bytes.fromhex(entry.name)

    def total(self) -> int:
        """Bytes on disk, blobs and partial ones together. A partial blob counts in full."""
        return self._usage.total()

    # Writing

    def put(self, data: bytes | bytearray | memoryview, *, name: Hash | None = None, durable: bool = False) -> Hash:
        """Keep ``data`` and return its name. Returns at once what is here already.

        Visible whole or not at all, whenever the process dies; with ``durable`` it also survives a loss of power.
        Raises ``IntegrityError`` when ``name`` is given and is not the data's; ``StoreError`` when the disk is full or
        the budget exceeded. Nothing changes then.
        """
        manifest = Manifest.of(data)
        if name is not None and name != manifest.name:
            raise IntegrityError(f"these {manifest.size} bytes are blob {manifest.name.hex()}, not {name.hex()}")
        name = manifest.name
        path = self.path(name)
        self._remember(name, manifest)
        if self._already(path, manifest.size):
            return name
        self._make_sure_it_fits(manifest.size)
        draft = self.root / "tmp" / secrets.token_hex(16)
        try:
            with translated("writing", path):
                write_file(draft, data, durable=durable)
                try:
                    os.replace(draft, path)
                except FileNotFoundError:  # the first blob of this prefix
                    path.parent.mkdir(exist_ok=True)
                    os.replace(draft, path)
                if durable:
                    sync_directory(path.parent)
        except StoreError:
            draft.unlink(missing_ok=True)
            raise
        return name

    def begin(self, name: Hash, manifest: Manifest) -> Partial:
        """Start, or take up again, a blob that comes chunk by chunk.

        Raises ``IntegrityError`` if the manifest is not this blob's, ``StoreError`` if it would exceed the budget.
        """
        manifest.check(name)
        source = self.root / "partial" / name.hex()
        if not source.exists():
            self._make_sure_it_fits(manifest.size)
        with self._lock:
            self._open[name] += 1
        try:
            return Partial(name, manifest, source, self.path(name), bind(self._closed, name))
        except BaseException:
            self._closed(name)
            raise

    def delete(self, name: Hash) -> int:
        """Remove the blob if it is here. Returns the bytes freed."""
        return _remove(self.path(name))

    def collect(self, needed: Iterable[Hash], expendable: Iterable[Hash] = (), *, spare_seconds: float = 0.0) -> int:
        """Delete every blob that is neither ``needed`` nor ``expendable``; then, while over the budget, the
        ``expendable`` ones in the order given (also those that are needed). Returns the bytes freed.

        Files younger than ``spare_seconds`` stay: another process may have put them a moment ago and not said so
        yet. Blobs being fetched by this process stay too.
        """
        spendable = list(expendable)
        keep = set(needed) | set(spendable)
        youngest = time.time() - spare_seconds
        freed = 0
        for room in (self._entries(), (self.root / "partial").iterdir(), (self.root / "corrupt").iterdir()):
            for path in room:
                if self._garbage(path, keep) and (not spare_seconds or _modified(path) < youngest):
                    freed += _remove(path)
        if self.budget is not None:
            over = self.total() - self.budget
            for name in spendable:
                if over <= 0:
                    break
                gone = self.delete(name)
                over -= gone
                freed += gone
        return freed

    # Lending

    def lend(self) -> Lent:
        """A new folder that shows some of the blobs to a process that is to see no others."""
        return Lent(self.root / _LENT / secrets.token_hex(16), self.path)

    def reclaim(self) -> None:
        """Take back all that is lent. For who has the store alone: a process that was killed left its folders."""
        shutil.rmtree(self.root / _LENT, ignore_errors=True)

    # Checking

    def verify_all(self) -> Iterator[Problem]:
        """Every file that is not what its name says, and every file that does not belong here."""
        for entry in sorted(self.root.iterdir()):
            if entry.name not in (*_ROOMS, _LENT):
                yield Problem(entry, "foreign file: the store did not make it")
        for path in sorted(self._entries()):
            if not _NAME.fullmatch(path.name) or path.parent.name != path.name[:2] or not path.is_file():
                yield Problem(path, "foreign file: not named as a blob is")
                continue
            try:
                found = Manifest.of_file(path).name.hex()
            except FileNotFoundError:
                continue
            except OSError as error:
                yield Problem(path, f"cannot be read: {error.strerror}")
                continue
            if found != path.name:
                yield Problem(path, f"its bytes are those of {found}, not what its name says")

    def spoilt(self) -> list[Hash]:
        """The names of blobs whose bytes went bad and were moved aside."""
        return [bytes.fromhex(path.name) for path in (self.root / "corrupt").iterdir() if _NAME.fullmatch(path.name)]

    def forget_spoilt(self, name: Hash) -> None:
        """Delete the bad bytes that were moved aside, for the blob is here again or is not wanted."""
        _remove(self.root / "corrupt" / name.hex())

    # Within

    def _entries(self) -> Iterator[Path]:
        for prefix in (self.root / "blobs").iterdir():
            if prefix.is_dir():
                yield from prefix.iterdir()
            else:
                yield prefix

    def _garbage(self, path: Path, keep: set[Hash]) -> bool:
        """Whether ``collect`` may remove the file. What is not named as a blob is not ours to remove."""
        if not _NAME.fullmatch(path.name):
            return False
        name = bytes.fromhex(path.name)
        return name not in keep and name not in self._open

    def _read(self, name: Hash) -> bytes:
        try:
            return self.path(name).read_bytes()
        except FileNotFoundError as error:
            raise self._absent(name) from error

    def _absent(self, name: Hash) -> StoreError:
        return StoreError(f"no blob {name.hex()} in {self.root}; fetch it from another peer")

    def _spoilt(self, name: Hash) -> IntegrityError:
        with self._lock:
            self._manifests.pop(name, None)
        aside = self.root / "corrupt" / name.hex()
        with translated("moving aside", self.path(name)), suppress(FileNotFoundError):
            os.replace(self.path(name), aside)
        return IntegrityError(f"blob {name.hex()}: its bytes went bad on disk; moved to {aside}, fetch it again")

    def _remember(self, name: Hash, manifest: Manifest) -> None:
        with self._lock:
            self._manifests[name] = manifest
            self._manifests.move_to_end(name)
            if len(self._manifests) > _MANIFESTS_KEPT:
                self._manifests.popitem(last=False)

    def _already(self, path: Path, size: int) -> bool:
        try:
            return path.stat().st_size == size
        except FileNotFoundError:
            return False

    def _make_sure_it_fits(self, size: int) -> None:
        if self.budget is None:
            return
        with self._lock:
            if size <= self._allowance:
                self._allowance -= size
                return
        used = self.total()
        if used + size > self.budget:
            self.lacking = used + size - self.budget
            raise StoreError(
                f"{size} more bytes do not fit the store's budget: {used} of {self.budget} are used in {self.root};"
                " raise the budget or collect blobs no longer needed"
            )
        # Looking costs more than a small put: a quarter of the room may be used before looking again. Other
        # processes use the same room, so never all of it.
        with self._lock:
            self._allowance = (self.budget - used - size) // 4

    def _closed(self, name: Hash) -> None:
        with self._lock:
            self._open[name] -= 1
            if not self._open[name]:
                del self._open[name]

    def _sweep(self) -> None:
        """Remove drafts whose writer must be dead."""
        for draft in (self.root / "tmp").iterdir():
            if _modified(draft) < time.time() - _STALE_SECONDS:
                draft.unlink(missing_ok=True)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _remove(path: Path) -> int:
    try:
        size = path.stat().st_size
        path.unlink()
    except FileNotFoundError:
        return 0
    return size
