"""The daemon's side of its worker: start it, ask it one thing at a time, end it when it overruns."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

import msgspec

from folkmoot import errors
from folkmoot.digest import Hash
from folkmoot.errors import FolkmootError, TaskError
from folkmoot.peer.asks import Answer, Ask, Failure, Load, Loaded
from folkmoot.peer.log import make_room
from folkmoot.store import Store

__all__ = ["Workplace"]

LOAD_SECONDS = 120.0
_LENGTH = struct.Struct("<I")
_ANSWER_LIMIT = 1 << 26
_MESSAGE_LIMIT = 500
"""Characters of an error's text that are shown: a task may raise with megabytes."""
_LAST_SECONDS = 1.0
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""One thread a worker, unless the user says otherwise: a machine with several peers is not helped by more."""
T = TypeVar("T", bound=Answer)


class Workplace:
    """One task's worker process. It is started when first asked, and again after it died or was ended.

    Every question raises ``TaskError`` when the task's code raises, the worker dies, or ``timeout`` seconds pass
    (the worker is then killed). Starting it and loading the task have ``LOAD_SECONDS`` of their own.
    """

    worker: ClassVar[Sequence[str]] = ("folkmoot.peer.worker",)
    """The worker's module, and its first arguments. Named, not imported: NumPy and the round's arithmetic are for the
    worker's process alone."""

    def __init__(self, store: Store, bundle: Hash, log: Path) -> None:
        self._store = store
        self._bundle = bundle
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._decoder: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)

    async def load(self) -> Loaded:
        """Start the worker and load the task."""
        async with self._turn:
            return await self._started()

    async def ask(self, question: Ask, answer: type[T], timeout: float) -> T:
        """Ask; the worker is started and the task loaded first where needed."""
        async with self._turn:
            if self._process is None or self._process.returncode is not None:
                await self._started()
            return await self._exchange(question, answer, timeout)

    async def close(self) -> None:
        """End the worker."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    async def _end(self, process: asyncio.subprocess.Process) -> int | None:
        """End a worker that broke off; the status it ended with by itself, if it does so within a moment."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _LAST_SECONDS)
        code = process.returncode
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what it started itself goes with it
        await self.close()
        return code

    async def rest(self) -> None:
        """End the worker once it has answered what it was asked; it starts again when it is needed."""
        async with self._turn:
            await self.close()

    async def _started(self) -> Loaded:
        await self.close()
        make_room(self._log)
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *self.worker,
                str(self._store.root),
                *(() if self._store.budget is None else (str(self._store.budget),)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**_ENVIRONMENT, **os.environ},
                start_new_session=True,
            )
        return await self._exchange(Load(self._bundle), Loaded, LOAD_SECONDS)

    async def _exchange(self, question: Ask, answer: type[T], timeout: float) -> T:
        assert self._process is not None
        try:
            reply = await asyncio.wait_for(self._roundtrip(self._process, question), timeout)
        except TimeoutError:
            await self.close()
            what = type(question).__name__.lower()
            raise TaskError(f"the task's {what} took over {timeout:.1f} s and was ended") from None
        except asyncio.CancelledError:
            await self.close()
            raise
        except (OSError, EOFError, msgspec.MsgspecError):
            code = await self._end(self._process)
            what = type(question).__name__.lower()
            raise TaskError(f"the task's worker died in {what} (status {code}); see {self._log}") from None
        if isinstance(reply, Failure):
            raise _as_error(reply)
        if not isinstance(reply, answer):
            raise TaskError(f"the worker answered {type(reply).__name__} to {type(question).__name__}")
        return reply

    async def _roundtrip(self, process: asyncio.subprocess.Process, question: Ask) -> Answer:
        assert process.stdin is not None
        assert process.stdout is not None
        data = msgspec.msgpack.encode(question)
        process.stdin.write(_LENGTH.pack(len(data)) + data)
        await process.stdin.drain()
        (length,) = _LENGTH.unpack(await process.stdout.readexactly(_LENGTH.size))
        if length > _ANSWER_LIMIT:
            raise EOFError("it sent an oversized answer")
        return self._decoder.decode(await process.stdout.readexactly(length))


def _as_error(failure: Failure) -> FolkmootError:
    message = " ".join(failure.message.split())
    if len(message) > _MESSAGE_LIMIT:
        message = message[:_MESSAGE_LIMIT] + " ..."
    kind = getattr(errors, failure.kind, TaskError)
    return kind(message) if isinstance(kind, type) and issubclass(kind, FolkmootError) else TaskError(message)
