"""The chunk list of a blob: what a receiver needs to check it piece by piece."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from folkmoot.digest import CHUNK, HASH_BYTES, Hash, chunk_hashes, manifest_hash
from folkmoot.errors import IntegrityError

__all__ = ["Manifest", "chunk_count"]


def chunk_count(size: int) -> int:
    """How many chunks a blob of ``size`` bytes has."""
    return -(-size // CHUNK)


@dataclass(frozen=True)
class Manifest:
    """Size in bytes and the hash of each CHUNK-sized piece, in order."""

    size: int
    chunks: tuple[Hash, ...]

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview) -> Manifest:
        """The manifest of ``data``."""
        return cls(memoryview(data).nbytes, tuple(chunk_hashes(data)))

    @classmethod
    def of_file(cls, path: Path) -> Manifest:
        """The manifest of a file's bytes, read one chunk at a time. Raises ``OSError``."""
        size = 0
        chunks: list[Hash] = []
        with path.open("rb", buffering=0) as file:
            while piece := file.read(CHUNK):
                # A short read before the end would shift every later chunk; regular files do not give one
                # except when a signal comes, so fill up.
                while len(piece) < CHUNK and (more := file.read(CHUNK - len(piece))):
                    piece += more
                size += len(piece)
                chunks += chunk_hashes(piece)
        return cls(size, tuple(chunks))

    @classmethod
    def unpack(cls, name: Hash, size: int, packed: bytes) -> Manifest:
        """The manifest a peer sent: its size and its chunk hashes one after the other.

        Raises ``IntegrityError`` unless it is the manifest of the blob called ``name``.
        """
        if len(packed) != HASH_BYTES * chunk_count(size):
            raise IntegrityError(
                f"manifest of blob {name.hex()}: {len(packed)} bytes of chunk hashes do not fit a size of {size}"
            )
        chunks = tuple(packed[at : at + HASH_BYTES] for at in range(0, len(packed), HASH_BYTES))
        manifest = cls(size, chunks)
        manifest.check(name)
        return manifest

    def pack(self) -> bytes:
        """The chunk hashes, one after the other: 32 bytes each."""
        return b"".join(self.chunks)

    @property
    def name(self) -> Hash:
        """The hash of the blob this is the manifest of."""
        return manifest_hash(self.size, self.chunks)

    def check(self, name: Hash) -> None:
        """Raise ``IntegrityError`` unless this is the manifest of the blob called ``name``."""
        if len(self.chunks) != chunk_count(self.size) or self.name != name:
            raise IntegrityError(f"manifest does not belong to blob {name.hex()}; take it from another holder")

    def length(self, index: int) -> int:
        """How many bytes chunk ``index`` has. Raises ``IndexError`` outside the blob."""
        if not 0 <= index < len(self.chunks):
            raise IndexError(f"chunk {index} of a blob of {len(self.chunks)} chunks")
        return min(CHUNK, self.size - index * CHUNK)

    def fits(self, index: int, data: bytes | memoryview) -> bool:
        """Whether ``data`` is chunk ``index``."""
        return len(data) == self.length(index) and chunk_hashes(data) == [self.chunks[index]]
