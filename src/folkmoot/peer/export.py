"""Models that leave the moot: a file of parameters, or a folder with model, card and signed lineage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

from folkmoot.errors import LocalError
from folkmoot.ledger.records import Final, TaskRecord
from folkmoot.peer.asks import Export, Exported, Loaded
from folkmoot.peer.attestation import seal, statement
from folkmoot.peer.card import Measure, model_card
from folkmoot.peer.durable import replace
from folkmoot.peer.forebear import beginning_in, forebear
from folkmoot.peer.home import Home
from folkmoot.peer.lineage import Lineage, Spent, lineage, no_model, spending
from folkmoot.peer.offering import bundle_of
from folkmoot.peer.sources import Sources
from folkmoot.peer.workbench import Workbench
from folkmoot.task import read_state
from folkmoot.task.exports import arrays_in, check_same, with_metadata
from folkmoot.task.policy import Policy

__all__ = ["CARD", "MODEL", "PREDICATE", "STATE", "STATEMENT", "Predicate", "Signer", "export", "export_folder"]

MODEL, STATE, CARD, STATEMENT = "model.safetensors", "state.safetensors", "README.md", "lineage.intoto.jsonl"
"""The model as its framework loads it; the state, as its hash is on the ledger; the card; and what is signed."""
PREDICATE = "urn:folkmoot:lineage:3"


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
    policy: Policy
    spent: tuple[Spent, ...]
    metrics: tuple[tuple[int, str, float | None], ...]
    signer: Signer


def export(home: Home, task: int, path: Path, round: int | None = None) -> Final:
    """Write the model of a final round, the last unless told, to a safetensors file; the round's record.

    The file is as the model's framework loads it: the task's code writes it, in a sandbox as a running peer has it.
    Raises ``LocalError`` when the round is not final, or its model or the task's code not in this peer's store.
    """
    moot = home.moot()
    record = moot.task(task)
    finals = moot.finals(task)[: record.training]
    wanted = [final for final in finals if round in (None, final.round)]
    if not wanted:
        raise no_model(task, round, [final.round for final in finals])
    final = wanted[-1]
    about = {"folkmoot": f"task {task}, round {final.round}, model {final.model.hex()}"}
    continues = forebear(Sources(moot, [home.store()], home=home), task, record.genesis.hex())
    if continues is not None:
        about["not_covered"] = continues.not_covered
    _check_here(home, final.model, final.round)
    _write(path, with_metadata(_written(home, record, final.model)[1], about))
    return final


def export_folder(
    home: Home,
    task: int,
    folder: Path,
    round: int | None = None,
    licence: str = "unknown",
    former: str | None = None,
) -> Lineage:
    """Write a folder with the model of a final round, its card, and its lineage, signed by this member; the lineage.

    What of these files was in the folder is replaced. The task's code is loaded once, in a sandbox as a running peer
    does, for its policy. ``former`` is the ledger of the moot that this one continues, for the lineage to go on there.
    Raises as ``export``.
    """
    moot, identity = home.moot(), home.identity
    me = moot.me()
    if me is None:
        raise LocalError(f"{home.config.name} is not a member of this moot; only a member's word is worth anything")
    sources = Sources(moot, [home.store()], home=home)
    with beginning_in(sources, former):
        found = lineage(sources, task, round)
    name_on_ledger = bytes.fromhex(found.model)
    _check_here(home, name_on_ledger, found.round)
    loaded, model = _written(home, moot.task(task), name_on_ledger)
    state, policy = home.store().get(name_on_ledger), loaded.policy
    measures = _measures(home, task, found.round)
    spent = spending(sources.history, found.course, policy)
    shapes = {name: tuple(told["shape"]) for name, told in arrays_in(model).items()}
    card = model_card(found, loaded.name, policy, shapes, measures, spent, licence)
    files = {MODEL: model, STATE: state, CARD: card.encode()}
    signer = Signer(
        me.index, me.name, me.address, identity.endpoint.hex(), identity.exchange.hex(), identity.binding().hex()
    )
    metrics = tuple((at, key, value if math.isfinite(value) else None) for at, key, value in measures)
    told = Predicate(found, policy, spent, metrics, signer)
    envelope = seal(statement(files, PREDICATE, msgspec.to_builtins(told)), identity.endpoint_secret)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LocalError(f"cannot write to {folder}: {error.strerror}") from None
    for file, content in {**files, STATEMENT: envelope}.items():
        _write(folder / file, content)
    return found


def _check_here(home: Home, model: bytes, round: int) -> None:
    if not home.store().has(model):
        raise LocalError(
            f"the model of round {round} is not in {home.blobs}; run the peer (folkmoot run) and it fetches "
            "the last one, or export another round with --round"
        )


def _written(home: Home, record: TaskRecord, model: bytes) -> tuple[Loaded, bytes]:
    """The task, and the file of a model of it, from the task's code."""
    store = home.store()
    with Workbench(bundle_of(home, record), home, [store]) as bench:
        loaded = bench.load()
        file = bench.store.get(bench.ask(Export(model), Exported).file)
        check_same(file, read_state(store.get(model)))
        return loaded, file


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
