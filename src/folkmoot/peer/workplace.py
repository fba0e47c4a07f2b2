"""The daemon's side of its worker: start it, ask it one thing at a time, end it when it overruns."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import struct
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

import msgspec

from folkmoot import errors
from folkmoot.digest import Hash
from folkmoot.errors import (
    DataError,
    FolkmootError,
    IntegrityError,
    ProtocolError,
    SandboxError,
    StoreError,
    TaskError,
)
from folkmoot.peer.asks import (
    Answer,
    Ask,
    Delivery,
    Failure,
    Load,
    Loaded,
    OfData,
    blobs_of,
    most_made,
    named_in,
)
from folkmoot.peer.log import LOG_BYTES, make_room
from folkmoot.peer.sandbox import BLOBS, Sandbox, Sight, environment, refusal, trouble
from folkmoot.store import Lent, Manifest, Store

__all__ = ["Overran", "Withdrawn", "Workplace"]

LOAD_SECONDS = 120.0
_LENGTH = struct.Struct("<I")
_ANSWER_LIMIT = 1 << 26
_SCRATCH = "tmp"
_READ = 1 << 18
"""Bytes that are taken from the pipe before the worker has to wait: a chunk of a blob."""
_MESSAGE_LIMIT = 500
"""Characters of an error's text that are shown: a task may raise with megabytes."""
_TRACE_LIMIT = 20_000
_LAST_SECONDS = 1.0
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""One thread a worker, unless the user says otherwise: a machine with several peers is not helped by more."""
_WITHDRAWN = "its dataset may not be used any more, so the task's worker was ended"
T = TypeVar("T", bound=Answer)


class Withdrawn(TaskError):
    """A dataset may not be used any more: somebody decided that, and nothing went wrong."""


class Overran(TaskError):
    """What was asked took longer than there was time for, and was ended: it may be quicker another time."""


class Workplace:
    """One task's worker process. It is started when first asked, and again after it died or was ended.

    Every question raises ``TaskError`` when the task's code raises, the worker dies, or ``timeout`` seconds pass
    (the worker is then killed). Starting it and loading the task have ``LOAD_SECONDS`` of their own; where there is to
    be a ``sandbox`` and cannot be one, starting raises ``SandboxError``.

    The worker sees the blobs that a question names, and in a sandbox the dataset that was last shown. What it makes
    comes through the pipe and is in the store before the answer that names it is believed.
    """

    worker: ClassVar[Sequence[str]] = ("folkmoot.peer.worker",)
    """The worker's module, and its first arguments. Named, not imported: NumPy and the round's arithmetic are for the
    worker's process alone."""

    def __init__(self, store: Store, bundle: Hash, log: Path, memory: int, sandbox: Sandbox | None) -> None:
        """``memory`` is the most bytes that the worker may take; without a ``sandbox`` it runs as the user does."""
        self._store = store
        self._bundle = bundle
        self._log = log
        self._memory = memory
        self._sandbox = sandbox
        self._lent: Lent | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._says: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._decoder: msgspec.msgpack.Decoder[Answer | Delivery] = msgspec.msgpack.Decoder(Answer | Delivery)
        self._path: str | None = None
        """Of the dataset that may be seen."""
        self._seen: Sight | None = None
        """What the worker that runs sees of it."""
        self._using: str | None = None
        """Of the dataset that it is asked about just now."""
        self._withdrawals = 0
        self.starts = 0
        """How often the worker was started: each time it has forgotten everything."""

    async def load(self) -> Loaded:
        """Start the worker and load the task."""
        async with self._turn:
            return await self._started()

    async def ask(self, question: Ask, answer: type[T], timeout: float) -> T:
        """Ask; the worker is started and the task loaded first where needed. A dataset that the question names is
        shown, which costs a new start if it was not; if it is withdrawn meanwhile, that is ``Withdrawn``."""
        withdrawals = self._withdrawals
        async with self._turn:
            try:
                if isinstance(question, OfData):
                    if withdrawals != self._withdrawals and question.path != self._path:
                        raise Withdrawn(_WITHDRAWN)
                    self._path = self._using = question.path
                    if self._sandbox is not None:
                        self._sandbox.sight(question.path)
                if not self._runs or self._blind():
                    await self._started()
                if self._using is not None and self._using != self._path:
                    raise Withdrawn(_WITHDRAWN)
                if isinstance(question, OfData) and self._seen is not None:
                    question = msgspec.structs.replace(question, path=self._seen.path)
                return await self._exchange(question, answer, timeout)
            finally:
                self._using = None

    def withdraw(self, path: str | None) -> None:
        """Have the worker use no other dataset from now on than the one at ``path``: what it is asked, or is to be
        asked, about another raises ``Withdrawn``, and if it is at work on that it is ended at once."""
        self._path = path
        self._withdrawals += 1
        if self._using is not None and self._using != path and self._process is not None and self._runs:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def show(self, path: str | None) -> None:
        """Let the worker see the dataset at ``path`` and no other; one that runs is started again if it does not."""
        self.withdraw(path)
        async with self._turn:
            if self._runs and self._blind():
                await self._started()

    async def become(self, bundle: Hash) -> None:
        """Be the place of another bundle's worker; the one that runs is ended."""
        async with self._turn:
            self._bundle = bundle
            await self._stop()

    async def close(self) -> None:
        """End the worker."""
        await self._stop()
        if self._lent is not None:
            self._lent.close()
            self._lent = None

    async def rest(self) -> None:
        """End the worker once it has answered what it was asked; it starts again when it is needed."""
        async with self._turn:
            await self.close()

    @property
    def _runs(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def _blind(self) -> bool:
        """Whether the worker does not see what it may see, or sees what it may not any more."""
        return self._seen != self._sight()

    def _sight(self) -> Sight | None:
        """What there is to be seen of the dataset; nothing where it must not be."""
        if self._sandbox is not None and self._path is not None:
            with contextlib.suppress(DataError):
                return self._sandbox.sight(self._path)
        return None

    # ---- the process -------------------------------------------------------------------------------------------

    async def _started(self) -> Loaded:
        await self._stop()
        make_room(self._log)
        if self._lent is None:
            self._lent = self._store.lend()
        program = [sys.executable, "-m", *self.worker]
        self._process = await (
            self._freely([*program, str(self._lent.folder), str(self._memory), "none"], self._lent.folder / _SCRATCH)
            if self._sandbox is None
            else self._confined(self._sandbox, [*program, BLOBS, str(self._memory), "bubblewrap"], self._lent.folder)
        )
        self.starts += 1
        try:
            return await self._exchange(Load(self._bundle), Loaded, LOAD_SECONDS)
        except TaskError:
            why = None if self._sandbox is None or self._runs else await asyncio.to_thread(trouble)
            if why is not None:
                raise SandboxError(refusal(why)) from None
            raise

    async def _freely(self, program: Sequence[str], scratch: Path) -> asyncio.subprocess.Process:
        """What it writes to its temporary folder is taken back with the blobs that it is lent."""
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700)
        with self._log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *program,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**_ENVIRONMENT, **os.environ, "TMPDIR": str(scratch)},
                start_new_session=True,
                limit=_READ,
            )

    async def _confined(self, sandbox: Sandbox, program: Sequence[str], blobs: Path) -> asyncio.subprocess.Process:
        """What it prints comes through a pipe too: the log is not for it to change, nor to read what others said."""
        self._seen = self._sight()
        with sandbox.around([program[0], "-P", *program[1:]], blobs, self._seen) as (command, descriptors):
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**_ENVIRONMENT, **environment()},
                start_new_session=True,
                pass_fds=descriptors,
                limit=_READ,
            )
        assert process.stderr is not None
        self._says = asyncio.create_task(self._listen(process.stderr))
        return process

    async def _listen(self, stream: asyncio.StreamReader) -> None:
        """Write down what the worker prints, as much as a log may hold."""
        written = 0
        while said := await stream.read(_READ):
            if written < LOG_BYTES:
                with contextlib.suppress(OSError), self._log.open("ab") as log:
                    written += log.write(said)

    async def _stop(self) -> None:
        process, self._process, self._seen = self._process, None, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if self._says is not None:
            await asyncio.wait({self._says}, timeout=_LAST_SECONDS)
            self._says.cancel()
            self._says = None

    async def _end(self, process: asyncio.subprocess.Process) -> int | None:
        """End a worker that broke off; the status it ended with by itself, if it does so within a moment."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _LAST_SECONDS)
        code = process.returncode
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what it started itself goes with it
        await self._stop()
        return code

    # ---- the pipe ----------------------------------------------------------------------------------------------

    async def _exchange(self, question: Ask, answer: type[T], timeout: float) -> T:
        assert self._process is not None
        assert self._lent is not None
        lent = tuple(blobs_of(question))
        self._lent.show(lent)
        what = type(question).__name__.lower()
        try:
            reply = await asyncio.wait_for(self._roundtrip(self._process, question, lent), timeout)
        except TimeoutError:
            await self._stop()
            raise Overran(f"the task's {what} took over {timeout:.1f} s and was ended") from None
        except asyncio.CancelledError:
            await self._stop()
            raise
        except (IntegrityError, ProtocolError, msgspec.MsgspecError) as error:
            await self._stop()
            raise TaskError(f"the task's worker was ended in {what}, for what it said is no answer: {error}") from None
        except (OSError, EOFError):
            code = await self._end(self._process)
            if self._using is not None and self._using != self._path:
                raise Withdrawn(_WITHDRAWN) from None
            raise TaskError(f"the task's worker died in {what} (status {code}); see {self._log}") from None
        if isinstance(reply, Failure):
            if reply.kind == IntegrityError.__name__:
                self._put_right(lent)
            raise _as_error(reply)
        if not isinstance(reply, answer):
            raise TaskError(f"the worker answered {type(reply).__name__} to {type(question).__name__}")
        return reply

    async def _roundtrip(self, process: asyncio.subprocess.Process, question: Ask, lent: Iterable[Hash]) -> Answer:
        assert process.stdin is not None
        assert process.stdout is not None
        data = msgspec.msgpack.encode(question)
        process.stdin.write(_LENGTH.pack(len(data)) + data)
        await process.stdin.drain()
        known, left, refused = set(lent), most_made(question), None
        while isinstance(reply := await self._message(process.stdout), Delivery):
            if not left:
                raise ProtocolError("it delivers more than was asked for")
            known.add(reply.name)
            left -= 1
            refused = await self._take(process.stdout, reply) or refused
        if not known.issuperset(named_in(question, reply)):
            raise ProtocolError("it names a blob that it neither was lent nor has made")
        if refused is not None:
            raise refused
        return reply

    async def _message(self, stream: asyncio.StreamReader) -> Answer | Delivery:
        (length,) = _LENGTH.unpack(await stream.readexactly(_LENGTH.size))
        if length > _ANSWER_LIMIT:
            raise ProtocolError("it is oversized")
        return self._decoder.decode(await stream.readexactly(length))

    async def _take(self, stream: asyncio.StreamReader, coming: Delivery) -> StoreError | None:
        """Put a blob into the store as it comes, unless it is there, each chunk checked. Where the disk refuses, the
        rest is read all the same, so that the worker stays in step."""
        manifest = Manifest.unpack(coming.name, coming.size, coming.chunks)
        chunks = _chunks(stream, manifest)
        refused = None
        if not self._store.has(coming.name):
            try:
                with self._store.begin(coming.name, manifest) as partial:
                    try:
                        async for index, data in chunks:
                            partial.write(index, data)
                        partial.finish()
                    except BaseException:
                        partial.abandon()
                        raise
            except StoreError as error:
                refused = error
        async for index, data in chunks:
            if not manifest.fits(index, data):
                raise IntegrityError(f"chunk {index} of blob {coming.name.hex()} is not what its hash says")
        return refused

    def _put_right(self, lent: Iterable[Hash]) -> None:
        """Have the store move aside what went bad of these."""
        for name in lent:
            with contextlib.suppress(IntegrityError, StoreError):
                self._store.get(name)


async def _chunks(stream: asyncio.StreamReader, manifest: Manifest) -> AsyncIterator[tuple[int, bytes]]:
    for index in range(len(manifest.chunks)):
        yield index, await stream.readexactly(manifest.length(index))


def _as_error(failure: Failure) -> FolkmootError:
    message = _printable(" ".join(failure.message.split())[: 2 * _MESSAGE_LIMIT])
    if len(message) > _MESSAGE_LIMIT:
        message = message[:_MESSAGE_LIMIT] + " ..."
    kind = getattr(errors, failure.kind, TaskError)
    error = kind(message) if isinstance(kind, type) and issubclass(kind, FolkmootError) else TaskError(message)
    if failure.trace:
        error.add_note("\n".join(map(_printable, failure.trace[:_TRACE_LIMIT].splitlines())))
    if isinstance(error, TaskError):
        error.where = _printable(failure.where[:_MESSAGE_LIMIT])
    return error


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
