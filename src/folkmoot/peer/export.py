"""Models that leave the moot: a file of parameters, or a folder with model, card and signed lineage."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from folkmoot.errors import LocalError
from folkmoot.ledger.records import Final, TaskRecord
from folkmoot.peer.attestation import seal, statement
from folkmoot.peer.card import Measure, model_card
from folkmoot.peer.durable import replace
from folkmoot.peer.home import Home
from folkmoot.peer.lineage import Lineage, Spent, lineage, no_model, spending
from folkmoot.peer.sources import Sources
from folkmoot.task.policy import Policy

__all__ = [
    "CARD",
    "MODEL",
    "PREDICATE",
    "SERVER",
    "STATEMENT",
    "Predicate",
    "Signer",
    "export",
    "export_folder",
    "model_bytes",
]

MODEL, SERVER, CARD, STATEMENT = "model.safetensors", "server.safetensors", "README.md", "lineage.intoto.jsonl"
PREDICATE = "urn:folkmoot:lineage:1"
_OWN = "server/"
"""How arrays begin that the server optimiser remembers."""


class Signer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The member that signed, with the signature by which its network key vouches for its account."""

    member: int
    name: str
    account: str
    endpoint: str
    exchange: str
    binding: str


class Predicate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is said of an exported model."""

    lineage: Lineage
    round: int
    """How many rounds the state itself counts. With ``exponents`` and the files' arrays it makes the state whose hash
    is on the ledger."""
    exponents: dict[str, int]
    policy: Policy
    spent: tuple[Spent, ...]
    metrics: tuple[tuple[int, str, float | None], ...]
    signer: Signer


def export(home: Home, task: int, path: Path, round: int | None = None) -> Final:
    """Write the model of a final round, the last unless told, to a safetensors file; the round's record.

    The file holds the parameters, float64, without what the server optimiser remembers. Raises ``LocalError``
    when the round is not final, or its model not in this peer's store.
    """
    moot = home.moot()
    moot.task(task)
    finals = moot.finals(task)
    wanted = [final for final in finals if round in (None, final.round)]
    if not wanted:
        raise no_model(task, round, [final.round for final in finals])
    final = wanted[-1]
    about = {"folkmoot": f"task {task}, round {final.round}, model {final.model.hex()}"}
    _write(path, model_bytes(_state(home, final.model, final.round)[0], about))
    return final


def model_bytes(arrays: Mapping[str, NDArray[np.float64]], about: Mapping[str, str]) -> bytes:
    """A state's parameters as a safetensors file, ``about`` in its metadata."""
    return _packed(_split(arrays)[0], about)


def export_folder(home: Home, task: int, folder: Path, round: int | None = None, licence: str = "unknown") -> Lineage:
    """Write a folder with the model of a final round, its card, and its lineage, signed by this member; the lineage.

    What of these files was in the folder is replaced. The task's code is loaded once, in a sandbox as a running peer
    does, for its policy. Raises as ``export``.
    """
    moot, identity = home.moot(), home.identity
    me = moot.me()
    if me is None:
        raise LocalError(f"{home.config.name} is not a member of this moot; only a member's word is worth anything")
    sources = Sources(moot, [home.store()])
    found = lineage(sources, task, round)
    arrays, counted, exponents = _state(home, bytes.fromhex(found.model), found.round)
    model, server = _split(arrays)
    name, policy = asyncio.run(_described(home, moot.task(task)))
    measures = _measures(home, task, found.round)
    spent = spending(sources.history, found.course, policy)
    files = {MODEL: _packed(model, {"format": "np"})}
    if server:
        files[SERVER] = _packed(server, {"format": "np"})
    shapes = {key: array.shape for key, array in model.items()}
    files[CARD] = model_card(found, name, policy, shapes, measures, spent, licence).encode()
    signer = Signer(
        me.index, me.name, me.address, identity.endpoint.hex(), identity.exchange.hex(), identity.binding().hex()
    )
    metrics = tuple((at, key, value if math.isfinite(value) else None) for at, key, value in measures)
    told = Predicate(found, counted, exponents, policy, spent, metrics, signer)
    envelope = seal(statement(files, PREDICATE, msgspec.to_builtins(told)), identity.endpoint_secret)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not server:
            (folder / SERVER).unlink(missing_ok=True)
    except OSError as error:
        raise LocalError(f"cannot write to {folder}: {error.strerror}") from None
    for file, content in {**files, STATEMENT: envelope}.items():
        _write(folder / file, content)
    return found


def _state(home: Home, model: bytes, round: int) -> tuple[Mapping[str, NDArray[np.float64]], int, dict[str, int]]:
    from folkmoot.task import read_state

    store = home.store()
    if not store.has(model):
        raise LocalError(
            f"the model of round {round} is not in {home.blobs}; run the peer (folkmoot run) and it fetches "
            "the last one, or export another round with --round"
        )
    state = read_state(store.get(model))
    return state.arrays, state.round, dict(state.exponents)


def _split(
    arrays: Mapping[str, NDArray[np.float64]],
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
    """The parameters, and what the server optimiser remembers."""
    model = {name: array for name, array in arrays.items() if not name.startswith(_OWN)}
    return model, {name: array for name, array in arrays.items() if name.startswith(_OWN)}


def _packed(arrays: Mapping[str, NDArray[np.float64]], about: Mapping[str, str]) -> bytes:
    from safetensors.numpy import save

    return save(dict(arrays), metadata=dict(about))


async def _described(home: Home, record: TaskRecord) -> tuple[str, Policy]:
    """Name and policy of a task, from its code, which runs as in a running peer."""
    from folkmoot.peer.sandbox import Sandbox, choose
    from folkmoot.peer.workplace import Workplace

    memory = home.config.worker_memory
    sandbox = None if choose(home.config).kind == "none" else Sandbox(home.path, memory)
    place = Workplace(home.store(), record.bundle, home.path / "worker.log", memory, sandbox)
    try:
        loaded = await place.load()
    finally:
        await place.close()
    return loaded.name, loaded.policy


def _measures(home: Home, task: int, upto: int) -> Sequence[Measure]:
    """What this peer saw the rounds measure; nothing where it never ran."""
    from contextlib import closing

    from folkmoot.peer.journal import Journal

    if not home.journal.exists():
        return ()
    with closing(Journal(home.journal)) as journal:
        return [measure for measure in journal.metrics(task) if measure[0] <= upto]


def _write(path: Path, content: bytes) -> None:
    try:
        replace(path, content)
    except OSError as error:
        raise LocalError(f"cannot write {path}: {error.strerror}") from None
