"""The worker: a process of its own that runs the task's code, kept warm between rounds.

It holds no key and opens no connection; it is asked over its standard input and answers over its standard
output, in length-prefixed MessagePack messages. The blobs that a question is about lie in a folder that it can only
read; those that it makes go through the pipe, before the answer that names them. Run as
``python -m folkmoot.peer.worker BLOBS MEMORY SANDBOX``: the folder, the most bytes of memory, and what it runs in.
"""

from __future__ import annotations

import bisect
import contextlib
import fcntl
import os
import struct
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from folkmoot.digest import Hash, blob_hash
from folkmoot.errors import FolkmootError, IntegrityError, LocalError, StoreError, TaskError
from folkmoot.peer.asks import (
    Account,
    Accounted,
    Advance,
    Advanced,
    Answer,
    Appraise,
    Appraised,
    Ask,
    Contribute,
    Delivery,
    Export,
    Exported,
    Failure,
    Load,
    Loaded,
    Made,
    Prepare,
    Prepared,
    Summed,
    SumUp,
    Survey,
    Surveyed,
)
from folkmoot.peer.process import confine, die_with_parent, keep_buffers, settle
from folkmoot.reward.effects import effects, unscored
from folkmoot.round import fixed
from folkmoot.round.commitment import encode_hashes
from folkmoot.round.layout import Layout
from folkmoot.round.reduce import Made as Plain
from folkmoot.round.reduce import layout_of, make_contribution, mask_shards, next_state, noised, sum_row
from folkmoot.store import Manifest
from folkmoot.task import (
    Context,
    State,
    Task,
    Watched,
    author_traceback,
    load_task,
    read_state,
    state_bytes,
    task_error,
)
from folkmoot.task.by_name import finds_by_name
from folkmoot.task.data_check import check_data, check_file
from folkmoot.task.data_schema import DataSchema, declared, schema_in, schema_of
from folkmoot.task.examples import count_examples
from folkmoot.task.exports import model_file
from folkmoot.task.protocol import buffers_of

__all__ = ["main"]


_LENGTH = struct.Struct("<I")
_STATES_KEPT = 3
_PIPE = 1 << 20
"""Bytes that the pipe to the daemon holds, where the system lets us choose."""


class _Blobs:
    """The blobs that the daemon lends, and those that were made for the answer to come."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.made: dict[Hash, tuple[Manifest, bytes]] = {}

    def get(self, name: Hash) -> bytes:
        """A blob that is lent, checked. Raises ``StoreError``, and ``IntegrityError`` when it went bad on disk."""
        try:
            data = (self._folder / name.hex()).read_bytes()
        except OSError as error:
            raise StoreError(f"no blob {name.hex()} is here ({error.strerror}); fetch it from another peer") from None
        if blob_hash(data) != name:
            raise IntegrityError(f"blob {name.hex()}: its bytes went bad on disk; fetch it again")
        return data

    def put(self, data: bytes) -> Hash:
        """The name of a blob that is made."""
        manifest = Manifest.of(data)
        self.made[manifest.name] = manifest, data
        return manifest.name


class _Worker:
    """What is kept warm: the task, the latest states, the datasets, the sums of the round."""

    def __init__(self, store: _Blobs) -> None:
        self._store = store
        self._task: Watched | None = None
        self._states: OrderedDict[Hash, tuple[State, Layout]] = OrderedDict()
        self._schema: DataSchema | None = None
        """What the task expects of a dataset."""
        self._data: dict[str, tuple[object, Any]] = {}
        """For each path the dataset, and the mark of the file it was read from."""
        self._plain: tuple[tuple[Hash, str, object], Plain] | None = None
        """The last contribution before noise and masks, and what it was made of. An attempt that is made again sends
        the same under others; on no disk may it ever lie bare."""
        self._sums: dict[Hash, NDArray[np.int64]] = {}

    def answer(self, ask: Ask) -> Answer:
        if self._task is not None:
            self._task.doing = ""
        if isinstance(ask, Load):
            self._states.clear()
            self._data.clear()
            bundle = self._store.get(ask.bundle)
            task = load_task(bundle)
            self._task, self._schema = Watched(task), schema_in(bundle, task)
            settle()
            return Loaded(self.task.name, self.task.policy, unscored(self.task), self._schema)
        if isinstance(ask, Prepare):
            return self._prepare(ask)
        if isinstance(ask, Survey):
            data = self._dataset(ask.path)
            return Surveyed(count_examples(data), self._looks(data, ask.path))
        if isinstance(ask, Contribute):
            return self._contribute(ask)
        if isinstance(ask, Export):
            return Exported(self._store.put(model_file(self.task, self._state(ask.state)[0])))
        if isinstance(ask, SumUp):
            return self._sum(ask)
        if isinstance(ask, Account):
            return self._account(ask)
        if isinstance(ask, Appraise):
            return self._appraise(ask)
        return self._advance(ask)

    @property
    def task(self) -> Task:
        if self._task is None:
            raise LocalError("no task is loaded")
        return self._task.task

    def failed_in(self, ask: Ask) -> str:
        """What of the task raised while ``ask`` was being answered."""
        return (self._task and self._task.doing) or str(ask.__struct_config__.tag)

    def _state(self, name: Hash) -> tuple[State, Layout]:
        if name not in self._states:
            self._keep(name, read_state(self._store.get(name)))
        self._states.move_to_end(name)
        return self._states[name]

    def _keep(self, name: Hash, state: State) -> None:
        self._states[name] = (state, layout_of(self.task, state))
        while len(self._states) > _STATES_KEPT:
            self._states.popitem(last=False)

    def _prepare(self, ask: Prepare) -> Prepared:
        name = ask.state
        if name is None:
            state = self.task.init()
            name = self._store.put(state_bytes(state))
            self._keep(name, state)
        state, layout = self._state(name)
        return Prepared(name, layout, tuple(sorted(buffers_of(self.task, state))))

    def _contribute(self, ask: Contribute) -> Made:
        _, layout = self._state(ask.state)
        made = noised(self.task.policy, self._contribution(ask), layout, ask.noise)
        if ask.group:
            shards = mask_shards(made, layout, ask.shards, ask.group, ask.masks)
        else:
            shards = fixed.encode_shards(made.values, made.side, layout, ask.shards)
        return Made(tuple(self._store.put(shard) for shard in shards), made.norm)

    def _contribution(self, ask: Contribute) -> Plain:
        origin = (ask.state, ask.path, (ask.version, _mark(ask.path)))
        if self._plain is None or self._plain[0] != origin:
            state, layout = self._state(ask.state)
            context = Context(ask.round, ask.seed)
            self._plain = (
                origin,
                make_contribution(self.task, state, self._dataset(ask.path, ask.version), context, layout),
            )
        return self._plain[1]

    def _account(self, ask: Account) -> Accounted:
        from folkmoot.privacy.budget import Training, affordable, planned, spent, trains_privately

        policy, training = self.task.policy, None
        if trains_privately(policy):
            records, own = len(self._dataset(ask.path, ask.version)[0][1]), self.task
            batch, epochs = getattr(own, "batch_size", None), getattr(own, "local_epochs", 1)
            training = Training(records, batch, epochs, getattr(own, "local_steps", None))
        allowed, limit = None, ask.limit
        if limit is not None:
            most = range(2 * policy.rounds)
            allowed = bisect.bisect_left(most, True, key=lambda n: not affordable(policy, n, limit, training))
        return Accounted(planned(policy, training).epsilon, spent(policy, ask.releases, training), allowed)

    def _appraise(self, ask: Appraise) -> Appraised:
        state, layout = self._state(ask.state)
        sizes, get = [len(row.members) for row in ask.rows], self._store.get
        if ask.sums:
            shards = len(ask.sums)
            sums = [fixed.decode_sum(get(name), shard, layout, shards, sizes) for shard, name in enumerate(ask.sums)]
        else:
            pairs = zip(ask.blobs, ask.rows, strict=True)
            sums = [np.stack([sum_row(map(get, blobs), 0, layout, 1, row.group, row.masks) for blobs, row in pairs])]
        return Appraised(tuple(effects(self.task, state, layout, sums, sizes, self._dataset(ask.path, ask.version))))

    def _dataset(self, path: str, version: str = "") -> Any:
        """The dataset at ``path``, read anew when the file or its ``version`` has changed, and held against what the
        task expects of it."""
        mark = (version, _mark(path))
        if path not in self._data or self._data[path][0] != mark:
            self._data.pop(path, None)  # before the next one is in memory too
            if self._schema is not None:
                check_file(self._schema, path)
            data = self.task.load(path)
            if self._schema is not None:
                check_data(self._schema, data, path)
            self._data[path] = (mark, data)
        return self._data[path][1]

    def _looks(self, data: object, path: str) -> DataSchema:
        """What a dataset looks like. The order of its columns is no part of that where ``load`` goes by their names."""
        said = declared(self.task)
        schema = schema_of(data, path, said)
        if said is None and schema.columns and finds_by_name(self.task.load, data, Path(path)):
            return msgspec.structs.replace(schema, ordered=False)
        return schema

    def _sum(self, ask: SumUp) -> Summed:
        _, layout = self._state(ask.state)
        self._sums.clear()
        sums = {}
        sizes = [len(row.members) for row in ask.rows]
        for shard, blobs in ask.blobs.items():
            rows = zip(blobs, ask.rows, strict=True)
            total = np.stack(
                [sum_row(map(self._store.get, b), shard, layout, ask.shards, r.group, r.masks) for b, r in rows]
            )
            packed = fixed.encode_sum(total, shard, layout, ask.shards, sizes)
            # A lone shard is summed by everyone from the contributions themselves: its sum is not kept.
            sums[shard] = blob_hash(packed) if ask.shards == 1 else self._store.put(packed)
            self._sums[sums[shard]] = total
        return Summed(sums)

    def _advance(self, ask: Advance) -> Advanced:
        state, layout = self._state(ask.state)
        sums = [self._total(name, shard, layout, ask) for shard, name in enumerate(ask.sums)]
        new, metrics = next_state(self.task, state, layout, sums, ask.rows, ask.beacon, ask.lost)
        model = self._store.put(state_bytes(new))
        self._keep(model, new)
        return Advanced(model, self._store.put(encode_hashes(ask.sums)), dict(metrics))

    def _total(self, name: Hash, shard: int, layout: Layout, ask: Advance) -> NDArray[np.int64]:
        if name in self._sums:
            return self._sums[name]
        return fixed.decode_sum(self._store.get(name), shard, layout, len(ask.sums), ask.rows)


def _serve(blobs: _Blobs, source: BinaryIO, sink: BinaryIO) -> None:
    worker = _Worker(blobs)
    decoder = msgspec.msgpack.Decoder(Ask)
    while header := source.read(_LENGTH.size):
        ask = decoder.decode(source.read(*_LENGTH.unpack(header)))
        try:
            answer = worker.answer(ask)
        except FolkmootError as error:
            where = error.where if isinstance(error, TaskError) else ""
            answer = Failure(type(error).__name__, str(error), author_traceback(error.__cause__ or error), where)
        except (Exception, SystemExit) as error:  # the task's own code may raise anything
            wrapped = task_error(f"failed in {worker.failed_in(ask)}", error)
            answer = Failure(TaskError.__name__, str(wrapped), author_traceback(error), wrapped.where)
        if not isinstance(answer, Failure):
            for name, (manifest, data) in blobs.made.items():
                _send(sink, Delivery(name, manifest.size, manifest.pack()))
                sink.write(data)
        blobs.made.clear()
        _send(sink, answer)
        sink.flush()


def _send(sink: BinaryIO, message: Answer | Delivery) -> None:
    data = msgspec.msgpack.encode(message)
    sink.write(_LENGTH.pack(len(data)) + data)


def _mark(path: str) -> object:
    """What changes when a file is written anew; of a folder, when files in it come and go."""
    try:
        found = os.stat(path)
    except OSError:
        return None  # the task's own words on what is missing are better
    return found.st_mtime_ns, found.st_size, found.st_ino


def main() -> None:
    """Serve until standard input closes, which it does when the daemon ends, however it ends."""
    die_with_parent()
    keep_buffers()
    source = os.fdopen(os.dup(0), "rb")
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the task prints goes to the log, never into the pipe
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    with contextlib.suppress(AttributeError, OSError):  # Linux alone has it, and gives each user so much of it
        fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, _PIPE)
    blobs, memory, sandbox = sys.argv[1:]
    confine(int(memory), alone=sandbox != "none")
    _serve(_Blobs(Path(blobs)), source, sink)


if __name__ == "__main__":
    main()
