"""Which code an administrator has read, and what a new version of it changes."""

from __future__ import annotations

import difflib
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from folkmoot.digest import Hash
from folkmoot.errors import LocalError
from folkmoot.peer.durable import replace
from folkmoot.peer.home import Home
from folkmoot.task import read_bundle

__all__ = ["closest", "difference", "remember", "was_reviewed"]

ALIKE = 0.3
"""Of the lines of two bundles, how many are the same in what counts as versions of one thing."""


def remember(home: Home, bundle: Hash) -> None:
    """Note that the code of this bundle was shown to the administrator."""
    known = _reviewed(home) | {bundle.hex(): time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    replace(_file(home), msgspec.json.format(msgspec.json.encode(known)) + b"\n", mode=0o600)


def was_reviewed(home: Home, bundle: Hash) -> bool:
    """Whether it was, here."""
    return bundle.hex() in _reviewed(home)


def closest(home: Home, bundle: Hash, files: Mapping[str, str]) -> tuple[Hash, dict[str, str]] | None:
    """Of the bundles reviewed before, and still here, the one most like these files, with its own; ``None`` where none
    is a version of the same thing."""
    store, best = home.store(), None
    found: tuple[Hash, dict[str, str]] | None = None
    for name in map(bytes.fromhex, reversed(list(_reviewed(home)))):
        if name == bundle or not store.has(name):
            continue
        known = {k: v.decode(errors="replace") for k, v in read_bundle(store.get(name)).items()}
        alike = _likeness(known, files)
        if alike >= ALIKE and (best is None or alike > best):
            best, found = alike, (name, known)
    return found


def difference(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """What ``after`` changes, as a unified diff; empty where nothing differs."""
    lines: list[str] = []
    for name in sorted(before.keys() | after.keys()):
        old, new = (files.get(name, "").splitlines(keepends=True) for files in (before, after))
        ended = (
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in difflib.unified_diff(old, new, f"reviewed/{name}", f"proposed/{name}")
        )
        lines += ended
    return "".join(lines)


def _likeness(one: Mapping[str, str], other: Mapping[str, str]) -> float:
    """The part of all lines that both have, 0 to 1; quick, and good enough to tell versions from strangers."""
    lines = [[line for name in sorted(files) for line in files[name].splitlines()] for files in (one, other)]
    return difflib.SequenceMatcher(None, lines[0], lines[1], autojunk=False).ratio()


def _reviewed(home: Home) -> dict[str, str]:
    """Bundles that were shown, as hex, in the order of when."""
    try:
        return msgspec.json.decode(_file(home).read_bytes(), type=dict[str, str])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise LocalError(f"{_file(home)} cannot be read: {error}; move it away, and review again") from None


def _file(home: Home) -> Path:
    return home.path / "reviewed.json"
