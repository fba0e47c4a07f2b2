"""The demo's peers as operating-system processes: started, watched, killed, and never left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Literal

from folkmoot.errors import LocalError

if TYPE_CHECKING:
    from folkmoot.peer.home import Home
    from folkmoot.peer.status import PeerStatus

__all__ = ["Peers"]

_LEAVE_SECONDS = 4.0
"""How long a peer has to leave after SIGTERM before it is killed."""
_LOG_LINES = 5


class Peers:
    """Peer processes by name; a context manager that ends them all, however it is left.

    Each stands in a session of its own, so the terminal's Ctrl-C reaches only the demo; and each reads its
    standard input to the end, so that even a demo killed by SIGKILL takes its peers along. Their task is our own: where
    no sandbox can be made for it, it runs without.
    """

    def __init__(self, homes: Mapping[str, Home], liars: Mapping[str, str] | None = None) -> None:
        """``liars`` are those that lie, each with the name of its attack."""
        from folkmoot.peer.sandbox import VARIABLE, trouble

        self._homes = homes
        self._liars = liars or {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.no_sandbox = None if VARIABLE in os.environ else trouble()
        """Why the task's code runs without one, where it does."""
        self._environment = os.environ | ({} if self.no_sandbox is None else {VARIABLE: "none"})

    def __enter__(self) -> Peers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self.stop()
        return False

    def start(self, name: str) -> None:
        """Start the peer of this name."""
        home = self._homes[name]
        with self._output(home).open("ab") as output, _deferred():
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", *self._program(name)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=self._environment,
                start_new_session=True,
            )

    def _program(self, name: str) -> tuple[str, ...]:
        home = str(self._homes[name].path)
        if name in self._liars:
            return ("folkmoot.simulate.liar", home, "--attack", self._liars[name])
        return ("folkmoot.peer", home)

    def kill(self, name: str) -> int:
        """End the peer with SIGKILL, as a power cut would; its process id."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()
        _close(process.stdin)
        return process.pid

    def status(self, name: str) -> PeerStatus | None:
        """What the running process of this name says of itself; ``None`` before it has said anything, or when dead."""
        from folkmoot.peer.status import read_status

        status, process = read_status(self._homes[name]), self._processes.get(name)
        return status if status is not None and process is not None and status.pid == process.pid else None

    def check(self) -> None:
        """Raise ``LocalError`` with the end of its output when a peer has ended by itself."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise LocalError(f"the peer {name} ended with status {process.returncode}: {self.last_words(name)}")

    def stop(self) -> None:
        """Ask all peers to leave, kill those that do not, and wait until all are gone."""
        with _uninterrupted():
            alive = [process for process in self._processes.values() if process.poll() is None]
            for process in alive:
                process.terminate()
            deadline = time.monotonic() + _LEAVE_SECONDS
            for process in alive:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, deadline - time.monotonic()))
                if process.poll() is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            for process in self._processes.values():
                _close(process.stdin)
            self._processes.clear()

    @staticmethod
    def _output(home: Home) -> Path:
        return home.path / "output.txt"

    def last_words(self, name: str) -> str:
        """The last lines that the peer of this name printed, errors mostly."""
        lines = self._output(self._homes[name]).read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-_LOG_LINES:]) or "it said nothing"


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait while the peers are being ended: an impatient second one must leave none behind."""
    before = {sign: signal.signal(sign, signal.SIG_IGN) for sign in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


@contextlib.contextmanager
def _deferred() -> Iterator[None]:
    """Ctrl-C and the like come through at the end: a process that is started and not yet on record would be left."""
    caught: list[int] = []
    signs = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {sign: signal.signal(sign, lambda number, frame: caught.append(number)) for sign in signs}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
        for number in caught:
            signal.raise_signal(number)


def _close(stream: IO[bytes] | None) -> None:
    if stream is not None:
        with contextlib.suppress(OSError):
            stream.close()
