"""Checking an exported folder: by itself (hashes and signature), and against a ledger (every round and grant in it)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from folkmoot.digest import blob_hash
from folkmoot.errors import IntegrityError, LocalError, ProtocolError
from folkmoot.ledger.binding import check_binding
from folkmoot.ledger.records import Member
from folkmoot.peer.attestation import LIMIT, check_signature, open_envelope, read_statement, sha256
from folkmoot.peer.export import CARD, MODEL, PREDICATE, STATE, STATEMENT, Predicate
from folkmoot.peer.lineage import Lineage, Share, Step, lineage, spending, trace
from folkmoot.peer.sources import Sources
from folkmoot.peer.verify import VerifyReport
from folkmoot.task import read_state
from folkmoot.task.exports import check_same

__all__ = ["ExportReport", "inspect"]

_WHAT = {MODEL: "the model", STATE: "the state that the model is of", CARD: "the model card"}


@dataclass
class ExportReport:
    """What held of an exported folder."""

    lineage: Lineage
    signer: str
    """Name of the member that signed, as it says itself, or as the ledger does."""
    against_ledger: bool
    notes: list[str] = field(default_factory=list)


def inspect(folder: Path, sources: Sources | None = None, replayed: VerifyReport | None = None) -> ExportReport:
    """Check an exported folder; with ``sources`` its lineage too against the ledger, with ``replayed`` its metrics.

    Raises ``IntegrityError`` naming what was altered: the model, the card, the statement, a round, a grant.
    """
    told, files = _opened(folder)
    said = told.lineage
    own = _check_model(told, files)
    _check_course(said)
    report = ExportReport(said, told.signer.name, sources is not None)
    if own:
        report.notes.append(f"{', '.join(own)}: not in both model and state; of these the exporter's word stands alone")
    if sources is None:
        report.notes.append(
            f"whose key {told.signer.endpoint[:12]} is, and whether those rounds took place, only the ledger tells"
        )
        report.notes += _unchecked(said, said)
        return report
    report.notes += sources.unsigned_grants()
    _check_signer(told, sources)
    found = _found(said, sources, report)
    report.notes += _unchecked(said, found)
    for place, one, two in _differences(said, found):
        raise IntegrityError(f"{place} is {one} in the statement, and {two} on the ledger")
    _check_policy(told, sources, found)
    if replayed is not None:
        _check_metrics(told, replayed)
    return report


def _opened(folder: Path) -> tuple[Predicate, dict[str, bytes]]:
    """The statement, its signature checked, and the files that it is about, each as it says."""
    try:
        with (folder / STATEMENT).open("rb") as file:
            data = file.read(LIMIT + 1)
    except OSError as error:
        raise LocalError(
            f"cannot read {folder / STATEMENT}: {error.strerror}; is {folder} an exported model?"
        ) from None
    where = f"the statement was altered ({STATEMENT})"
    try:
        payload, signatures = open_envelope(data)
        statement = read_statement(payload, PREDICATE)
        told = msgspec.json.decode(statement.predicate, type=Predicate)
        signer = _signing(told)
        check_signature(payload, signatures, signer.endpoint)
        if not check_binding(signer):
            raise IntegrityError(f"the key that signed it does not vouch for the account {signer.address}")
    except (IntegrityError, ValueError, msgspec.MsgspecError) as error:
        raise IntegrityError(f"{where}: {error}") from None
    files = {}
    named = {subject.name: subject.digest.get("sha256") for subject in statement.subject}
    if set(named) != set(_WHAT):
        raise IntegrityError(f"{where}: it is about other files than a model, its state and its card")
    for name, digest in named.items():
        files[name] = _read(folder / name)
        if sha256(files[name]) != digest:
            raise IntegrityError(f"{_WHAT[name]} was altered: {name} is not the file that the statement is about")
    return told, files


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror}") from None


def _signing(told: Predicate) -> Member:
    keys = (
        bytes.fromhex(told.signer.endpoint),
        bytes.fromhex(told.signer.exchange),
        bytes.fromhex(told.signer.binding),
    )
    return Member(told.signer.member, told.signer.account, told.signer.name, *keys, ())


def _check_model(told: Predicate, files: Mapping[str, bytes]) -> tuple[str, ...]:
    """Check the state against the lineage, and the model against the state; the arrays that only one of them has."""
    hashed = blob_hash(files[STATE]).hex()
    if hashed != told.lineage.model:
        raise IntegrityError(
            f"the model was altered: the hash of {STATE} is {hashed}, and its lineage ends in {told.lineage.model}"
        )
    try:
        return check_same(files[MODEL], read_state(files[STATE]))
    except (IntegrityError, ProtocolError) as error:
        raise IntegrityError(f"the model was altered: {MODEL}: {error}") from None


def _check_course(said: Lineage) -> None:
    """Raise ``IntegrityError`` where the rounds do not follow from each other."""
    before = said.former
    if before is not None:
        _check_course(before)
        named = said.continues and (said.continues.chain_id, said.continues.contract, said.continues.task)
        if named != (before.chain_id, before.contract, before.task):
            raise IntegrityError("the lineage before the move is not of the moot that the statement says is continued")
    state, steps = "" if before is None else before.model, list(said.steps)
    for stretch in said.course:
        if state and stretch.genesis != state:
            raise IntegrityError(f"task {stretch.task} does not start from the model before it")
        state = stretch.genesis
        for number in range(1, stretch.upto + 1):
            step = steps.pop(0) if steps else None
            if step is None or (step.task, step.round, step.parent) != (stretch.task, number, state):
                raise IntegrityError(f"round {number} of task {stretch.task} does not follow from the state before it")
            state = step.model
    if steps or state != said.model:
        raise IntegrityError("the rounds of the lineage do not lead to its model")


def _check_signer(told: Predicate, sources: Sources) -> None:
    signer = told.signer
    said = (signer.member, signer.account, signer.endpoint, signer.exchange)
    known = (
        (entry["member"], entry["account"], entry["endpoint"].hex(), entry["exchange"].hex())
        for entry in sources.history
        if entry.kind in ("Joined", "Delegated")
    )
    if said in known and signer.name == sources.register.name(signer.member):
        return
    raise IntegrityError(f"the statement is signed by a key of {signer.name!r} that is no member's on the ledger")


def _found(said: Lineage, sources: Sources, report: ExportReport) -> Lineage:
    """The lineage as the ledger has it."""
    if (said.chain_id, said.contract) != (sources.moot.chain_id, sources.moot.address):
        raise IntegrityError(
            f"the statement is about the moot {said.contract} on chain {said.chain_id}, and this is"
            f" {sources.moot.address} on chain {sources.moot.chain_id}"
        )
    try:
        if sources.find(sources.moot.task(said.task).bundle) is not None:
            return lineage(sources, said.task, said.round)
        report.notes.append(
            f"the code of task {said.task} is in no store here: whether it continues another is not checked"
        )
        return trace(sources, [(stretch.task, stretch.upto, stretch.without) for stretch in said.course])
    except LocalError as error:
        raise IntegrityError(f"the statement's lineage is not on the ledger: {error}") from None


def _differences(said: Lineage, found: Lineage) -> Iterator[tuple[str, object, object]]:
    """Where two lineages differ: place, what the first says, what the second does."""
    for ours, theirs in zip(said.course, found.course, strict=False):
        yield from _fields(f"task {ours.task}: its", ours, theirs)
    if len(said.course) != len(found.course):
        yield "the number of tasks that it went through", len(said.course), len(found.course)
    for mine, other in zip(said.steps, found.steps, strict=False):
        yield from _rounds(mine, other)
    yield from _continued(said, found)
    yield from _fields("the lineage's", said, found, besides=("continues", "former"))


def _continued(said: Lineage, found: Lineage) -> Iterator[tuple[str, object, object]]:
    """Where two lineages differ in what they say of the moot before, as far as both say it."""
    ours, theirs = said.continues, found.continues
    if ours is None or theirs is None:
        if ours is not theirs:
            yield "the account of the moot before", ours and ours.account, theirs and theirs.account
        return
    for name in ("account", "chain_id", "contract", "block"):
        one, two = getattr(ours, name), getattr(theirs, name)
        if one != two and (name == "account" or (one is not None and two is not None)):
            yield f"of the moot before, the {name.replace('_', ' ')}", one, two
    if not ours.not_covered and not theirs.not_covered and (ours.task, ours.round) != (theirs.task, theirs.round):
        yield "the task and round before the move", (ours.task, ours.round), (theirs.task, theirs.round)
    if said.former is not None and found.former is not None:
        for place, mine, other in _differences(said.former, found.former):
            yield f"before the move, {place}", mine, other


def _unchecked(said: Lineage, found: Lineage) -> Iterator[str]:
    """What a statement does not cover of the moots before, and what of it is not checked here."""
    if said.continues is None:
        return
    if said.continues.not_covered:
        yield f"not covered: {said.continues.not_covered}"
    elif found.continues is not None and found.continues.not_covered:
        yield f"not checked: what it says of {said.continues.contract}, the moot before; give its ledger with --former"
    elif said.former is not None and found.former is not None:
        yield from _unchecked(said.former, found.former)


def _rounds(said: Step, found: Step) -> Iterator[tuple[str, object, object]]:
    where = f"task {said.task}, round {said.round}:"
    told = {share.member: share for share in said.survivors}
    for share in found.survivors:
        if share.member not in told:
            yield f"{where} its survivor {share.name}", "missing", "there"
        else:
            yield from _shares(where, told.pop(share.member), share)
    for share in told.values():
        yield f"{where} its survivor {share.name}", "there", "not there"
    yield from _fields(f"{where} its", said, found)


def _shares(where: str, said: Share, found: Share) -> Iterator[tuple[str, object, object]]:
    if said.grant != found.grant:
        yield f"{where} the grant of {found.name}", said.grant, found.grant
    yield from _fields(f"{where} of the grant of {found.name} the", said, found)


def _fields(where: str, said: Any, found: Any, besides: Sequence[str] = ()) -> Iterator[tuple[str, object, object]]:
    for name in said.__struct_fields__:
        if name in besides:
            continue
        one, two = getattr(said, name), getattr(found, name)
        if one != two:
            yield f"{where} {name.replace('_', ' ')}", one, two


def _check_policy(told: Predicate, sources: Sources, found: Lineage) -> None:
    policy, terms = told.policy, found.course[-1].terms
    terms = {**terms, "rounds": terms["rounds"] - 1}
    numbers = {"rounds": policy.rounds, "min_members": policy.min_members, "sealed": int(policy.secret)}
    for name, value in numbers.items():
        if terms[name] != value:
            raise IntegrityError(f"the policy's {name} is {value} in the statement, and {terms[name]} on the ledger")
    if spending(sources.history, found.course, policy) != told.spent:
        raise IntegrityError("what the rounds cost is not what the statement says")


def _check_metrics(told: Predicate, replayed: VerifyReport) -> None:
    known = {(round, name): value for round, name, value in replayed.metrics.get(told.lineage.task, ())}
    for round, name, value in told.metrics:
        found = known.get((round, name), math.nan)
        if value is None and math.isnan(found):
            continue
        if value is None or (round, name) not in known or not math.isclose(found, value, rel_tol=1e-12):
            raise IntegrityError(
                f"task {told.lineage.task}, round {round}: its {name} is {value} in the statement, and"
                f" {found} in the replay"
            )
