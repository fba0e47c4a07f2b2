"""A task's code as bytes: what is pinned by hash on the ledger, and what each member runs.

A bundle is a magic line and a MessagePack list of ``[name, bytes]``, sorted by name. Names are POSIX paths
relative to the task's folder; there are no times, modes or owners, so the same files make the same bytes, and
the same hash, on every machine. `read_bundle` takes only what `make_bundle` writes.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from folkmoot.errors import ProtocolError, TaskError

__all__ = ["BUNDLE_LIMIT", "TASK_FILE", "make_bundle", "pack_bundle", "read_bundle"]

BUNDLE_LIMIT = 16 << 20
"""Bytes of a bundle, at most."""
TASK_FILE = "task.py"
"""The file of a bundle that defines ``task``."""

_MAGIC = b"folkmoot task bundle 1\n"
_MAX_FILES = 1_000
_MAX_NAME = 255


def make_bundle(path: Path | str, limit: int = BUNDLE_LIMIT) -> bytes:
    """The bundle of one task file (stored as ``task.py``) or of a folder that holds a ``task.py``.

    Skips ``__pycache__`` and whatever begins with a dot. Raises ``TaskError``, naming the file, if there is no
    ``task.py``, on symbolic links and special files, on names that would not survive another machine, and when
    the whole would exceed ``limit`` bytes.
    """
    root = Path(path)
    try:
        sources = _sources(root)
        pairs = _contents(sources, limit)
    except OSError as error:
        raise TaskError(f"{error.filename or root} cannot be read: {error.strerror or error}.") from None
    try:
        _check_names([name for name, _ in pairs])
    except ValueError as error:
        raise TaskError(f"{root} cannot be bundled: {error}.") from None
    bundle = pack_bundle(dict(pairs))
    if len(bundle) > limit:
        raise TaskError(_too_large(root, limit))
    return bundle


def pack_bundle(files: Mapping[str, bytes]) -> bytes:
    """The bundle of files by name, which are as `read_bundle` gives them."""
    return _MAGIC + msgspec.msgpack.encode(sorted(files.items()))


def read_bundle(bundle: bytes, limit: int = BUNDLE_LIMIT) -> dict[str, bytes]:
    """The files of ``bundle`` by name, sorted. Raises ``ProtocolError`` on anything `make_bundle` would not write:
    absolute or climbing names, duplicates, names that differ only in case, too many files, more than ``limit``."""
    if len(bundle) > limit:
        raise ProtocolError(f"A task bundle of {len(bundle)} bytes exceeds the limit of {limit}.")
    try:
        if not bundle.startswith(_MAGIC):
            raise ValueError("it does not begin as a bundle does")
        pairs = msgspec.msgpack.decode(bundle[len(_MAGIC) :], type=list[tuple[str, bytes]])
        _check_names([name for name, _ in pairs])
        if _MAGIC + msgspec.msgpack.encode(pairs) != bundle:
            raise ValueError("the bytes are not in canonical form")
    except (ValueError, msgspec.MsgspecError) as error:
        raise ProtocolError(f"These {len(bundle)} bytes are not a task bundle: {error}.") from None
    return dict(pairs)


def _sources(root: Path) -> list[tuple[str, Path]]:
    """Bundle name and path of each file, sorted by name."""
    if root.is_symlink():
        raise TaskError(f"{root} is a symbolic link; name the file or folder itself.")
    if not root.exists():
        raise TaskError(f"{root} does not exist; name a task file, or a folder that holds a {TASK_FILE}.")
    if not root.is_dir():
        _check_regular(root)
        return [(TASK_FILE, root)]
    found = sorted((_name(root, path), path) for path in _walk(root))
    if TASK_FILE not in dict(found):
        raise TaskError(f"{root} holds no {TASK_FILE}; the file of that name must define `task`.")
    return found


def _walk(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as scan:
        entries = sorted(scan, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith(".") or entry.name == "__pycache__":
            continue
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(path)
        else:
            _check_regular(path)
            yield path


def _name(root: Path, path: Path) -> str:
    # macOS may hand out decomposed names for files that Linux calls by their composed name.
    return unicodedata.normalize("NFC", path.relative_to(root).as_posix())


def _check_regular(path: Path) -> None:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        raise TaskError(f"{path} is a symbolic link, which would mean something else elsewhere; copy the file instead.")
    if not stat.S_ISREG(mode):
        raise TaskError(f"{path} is not a regular file; a task folder holds only files and folders.")


def _contents(sources: Iterable[tuple[str, Path]], limit: int) -> list[tuple[str, bytes]]:
    pairs, total = [], 0
    for name, path in sources:
        with path.open("rb") as file:
            content = file.read(limit - total + 1)
        total += len(content)
        if total > limit:
            raise TaskError(_too_large(path, limit))
        pairs.append((name, content))
    return pairs


def _too_large(path: Path, limit: int) -> str:
    return f"The task at {path} exceeds {limit} bytes; a bundle holds code, keep data out of its folder."


def _check_names(names: list[str]) -> None:
    """Raise ``ValueError`` unless these can be files of one folder on every machine, in bundle order."""
    if len(names) > _MAX_FILES:
        raise ValueError(f"it holds {len(names)} files, more than {_MAX_FILES}")
    if TASK_FILE not in names:
        raise ValueError(f"it holds no {TASK_FILE}")
    folded: set[str] = set()
    for previous, name in zip(["", *names], names, strict=False):
        _check_name(name)
        if name <= previous:
            raise ValueError(f"{name!r} comes twice or out of order")
        folded.add(name.casefold())
    if len(folded) != len(names):
        raise ValueError("two of its file names differ only in case")
    for name in folded:
        if any(str(parent) in folded for parent in Path(name).parents):
            raise ValueError(f"{name!r} lies under the name of a file")


def _check_name(name: str) -> None:
    parts = name.split("/")
    plain = name.isprintable() and not set(name) & {"\\", ":"} and unicodedata.is_normalized("NFC", name)
    visible = all(part and not part.startswith(".") and part.strip() == part for part in parts)
    if not plain or not visible or len(name.encode("utf-8", "surrogatepass")) > _MAX_NAME:
        raise ValueError(f"{name[:60]!r} is not a plain relative file name of at most {_MAX_NAME} bytes")
