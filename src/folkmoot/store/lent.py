"""Some blobs of a store, for a process that is to see no others."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from folkmoot.digest import Hash
from folkmoot.store._disk import translated

__all__ = ["Lent"]


class Lent:
    """A folder of hard links to blobs, each under the 64 hex digits of its name. Made by ``Store.lend``.

    To whom the folder is shown read-only can neither change nor delete what lies in it; the store goes on as it likes.
    """

    def __init__(self, folder: Path, blob: Callable[[Hash], Path]) -> None:
        self.folder = folder
        self._blob = blob
        self._shown: dict[Hash, int] = {}
        """Inode of each link: a blob that went bad and was fetched again is another file."""
        with translated("making", folder):
            folder.mkdir(parents=True, mode=0o700)

    def show(self, names: Iterable[Hash]) -> None:
        """Have in the folder what the store has of ``names``, and nothing else. Raises ``StoreError``."""
        found: dict[Hash, int] = {}
        for name in names:
            with suppress(FileNotFoundError):
                found[name] = self._blob(name).stat().st_ino
        with translated("lending blobs in", self.folder):
            for name in [name for name, inode in self._shown.items() if found.get(name) != inode]:
                (self.folder / name.hex()).unlink(missing_ok=True)
                del self._shown[name]
            for name in found.keys() - self._shown.keys():
                with suppress(FileNotFoundError):  # deleted since
                    _link(self._blob(name), self.folder / name.hex())
                    self._shown[name] = found[name]

    def close(self) -> None:
        """Take everything back."""
        self._shown.clear()
        shutil.rmtree(self.folder, ignore_errors=True)


def _link(blob: Path, link: Path) -> None:
    try:
        os.link(blob, link)
    except FileNotFoundError:
        raise
    except OSError:  # a file system that has no links, or no more of them
        shutil.copyfile(blob, link)
