"""A worker for a command: the same process in the same sandbox that a running peer has, asked one thing after another.

Whatever a command needs of a task's code it asks here, so that no command runs it with the user's own rights.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from folkmoot.digest import Hash, blob_hash
from folkmoot.errors import IntegrityError
from folkmoot.peer.asks import Answer, Ask, Loaded
from folkmoot.peer.home import WORKER_MEMORY, Home
from folkmoot.peer.ownbook import record_override
from folkmoot.peer.sandbox import Choice, Sandbox, choose
from folkmoot.peer.workplace import Workplace
from folkmoot.store import Store

__all__ = ["COMPUTE_SECONDS", "Workbench"]

COMPUTE_SECONDS = 600.0
_LOG_LINES = 5
T = TypeVar("T", bound=Answer)


class Workbench:
    """The worker of one bundle, with a store of its own for what it makes; a context manager that ends it.

    ``home`` is the peer whose limits and choice of sandbox hold; without one, the defaults. The worker is lent blobs of
    ``sources`` too, which are never written to. Where a sandbox is due and cannot be made, the first question raises
    ``LocalError`` saying how to mend that; where the user does without, that goes on the peer's record.
    """

    def __init__(
        self,
        bundle: bytes,
        home: Home | None = None,
        sources: Sequence[Store] = (),
        *,
        sandbox: bool = True,
        record: bool = True,
    ) -> None:
        """Without ``sandbox`` the worker runs as the user does, whatever is configured. ``record``: put it on the
        peer's record where there is none."""
        config = None if home is None else home.config
        memory = WORKER_MEMORY if config is None else config.worker_memory
        choice = choose(config) if sandbox else Choice("none", "--no-sandbox")
        self.bundle = bundle
        self.sandboxed = choice.kind != "none"
        """Whether the worker runs in a sandbox."""
        if home is not None and record and not self.sandboxed:
            record_override(home, "sandbox", choice.by)
        self._folder = tempfile.TemporaryDirectory(prefix="folkmoot-bench-")
        self.folder = Path(self._folder.name)
        self.store = _Shelves(self.folder / "blobs", sources)
        self._log = self.folder / "worker.log"
        confined = Sandbox(None if home is None else home.path, memory) if self.sandboxed else None
        self._work = Workplace(self.store, self.store.put(bundle), self._log, memory, confined)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Workbench:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the worker and remove all that it made."""
        with closing(self._runner):
            self._runner.run(self._work.close())
        self._folder.cleanup()

    def load(self) -> Loaded:
        """Start the worker afresh and load the task. Raises as ``Workplace.load``."""
        return self._runner.run(self._work.load())

    def become(self, bundle: bytes) -> None:
        """Load another bundle's task, of the same code, from the next question on."""
        self.bundle = bundle
        self._runner.run(self._work.become(self.store.put(bundle)))

    def show(self, path: str) -> None:
        """Let the worker see the dataset at ``path`` and no other."""
        self._runner.run(self._work.show(path))

    def ask(self, question: Ask, answer: type[T], timeout: float = COMPUTE_SECONDS) -> T:
        """As ``Workplace.ask``."""
        return self._runner.run(self._work.ask(question, answer, timeout))

    def forget(self, name: Hash) -> None:
        """Remove a blob that was made here, if it is not needed any more."""
        self.store.forget(name)

    def printed(self) -> str:
        """The last lines that the worker printed, on one line."""
        lines = self._log.read_text(errors="replace").strip().splitlines() if self._log.exists() else []
        return " | ".join(lines[-_LOG_LINES:])


class _Shelves(Store):
    """A store that also reads what others have, and writes nothing to them."""

    def __init__(self, path: Path, sources: Sequence[Store]) -> None:
        super().__init__(path)
        self._sources = sources

    def path(self, name: Hash) -> Path:
        """Where the blob lies, here or in one of the others."""
        own = super().path(name)
        if not os.path.exists(own):
            for source in self._sources:
                if source.has(name):
                    return source.path(name)
        return own

    def forget(self, name: Hash) -> None:
        """Remove a blob, if it lies here; what the others have stays."""
        super().path(name).unlink(missing_ok=True)

    def get(self, name: Hash) -> bytes:
        """As ``Store.get``, and what went bad among the others' blobs stays where it is."""
        path = self.path(name)
        if path.is_relative_to(self.root):
            return super().get(name)
        data = path.read_bytes()
        if blob_hash(data) != name:
            raise IntegrityError(f"blob {name.hex()}: its bytes went bad on disk, in {path}")
        return data
