"""Verbs about what came of it all: the moot's history, a model's, the proof that they hold, the model itself."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from folkmoot.cli.rehearsing import NoSandboxOption
from folkmoot.cli.show import DEFAULT_HOME, HomeOption, JsonOption, short, show_json, show_table

if TYPE_CHECKING:
    from folkmoot.peer.home import Home
    from folkmoot.peer.lineage import Lineage, Step
    from folkmoot.peer.sources import Sources
    from folkmoot.peer.verify import VerifyReport

__all__ = [
    "BlobsOption",
    "ContractOption",
    "FormerOption",
    "LedgerOption",
    "export",
    "log",
    "moment",
    "show",
    "sources_of",
    "unlearn",
    "verify",
]

TaskArgument = Annotated[int, typer.Argument(help="Id of the task; see folkmoot tasks.", min=1)]
LedgerOption = Annotated[
    str | None, typer.Option("--ledger", help="File of the chain, or URL; without it, the ledger of --home.")
]
BlobsOption = Annotated[
    list[Path] | None,
    typer.Option("--blobs", help="A peer's blobs; may be given again. Without it, those of --home."),
]
ContractOption = Annotated[
    str | None, typer.Option("--contract", help="Address of the moot; needed when the chain holds several.")
]
FormerOption = Annotated[
    str | None,
    typer.Option("--former", help="Ledger of the moot that this one continues: it is read, too.", metavar="LEDGER"),
]


@contextmanager
def sources_of(
    home: Path,
    ledger: str | None,
    contract: str | None,
    blobs: Sequence[Path] | None,
    upto: int | None = None,
    *,
    sandbox: bool = True,
    former: str | None = None,
    former_upto: int | None = None,
) -> Iterator[Sources]:
    """Ledger and blobs as named, and where they are not, those of the peer in ``home``. ``former`` is the ledger of the
    moot that this one continues, looked at up to the block ``former_upto``."""
    from folkmoot.peer.forebear import beginning_in
    from folkmoot.peer.home import Home
    from folkmoot.peer.sources import opened

    own = Home.open(home) if ledger is None else None
    if own is not None:
        ledger, contract = own.ledger(), contract or own.config.contract
        blobs = blobs or [path for path in (own.blobs,) if path.is_dir()]  # a peer that never ran has none
    assert ledger is not None
    where = ledger if "://" in ledger else Path(ledger)
    with (
        opened(where, contract, blobs or (), upto, home=own, sandbox=sandbox) as sources,
        beginning_in(sources, former, former_upto),
    ):
        yield sources


def moment(seconds: float) -> str:
    """A time, here, for people."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def log(
    task: Annotated[
        int | None, typer.Argument(help="Id of a task: its rounds. Without it, all that happened.", min=1)
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Tell all that happened in the moot, as the ledger has it; with a task, its final rounds."""
    from folkmoot.ledger.documents import final_document, names_of
    from folkmoot.peer.home import Home

    moot = Home.open(home).moot()
    if task is None:
        _tell_all(Home.open(home), json)
        return
    training = moot.task(task).training
    finals = moot.finals(task)
    names = {member.index: member.name for member in moot.members()}
    if json:
        show_json([final_document(final, names) for final in finals])
        return
    show_table(
        ("round", "attempt", "model", "made of", "signed by", "at"),
        (
            (
                final.round if final.round <= training else "measuring",
                final.attempt + 1,
                short(final.model),
                ", ".join(names_of(final.survivors, names)),
                f"{final.signers.bit_count()} of {final.members.bit_count()}",
                moment(final.time),
            )
            for final in finals
        ),
    )


def _tell_all(home: Home, json: bool) -> None:
    from folkmoot.ledger.chronicle import entries, names_in, tell
    from folkmoot.ledger.documents import entry_document
    from folkmoot.peer.register import consents

    history = entries(home.moot())
    names = names_in(history)
    motions = {entry["motion"]: entry for entry in history if entry.kind == "Moved"}
    how = {given.ended.place: f": {given.how}" for given in consents(history) if given.ended}
    says = [tell(entry, names, motions) + how.get(entry.place, "") * (entry.kind == "Revoked") for entry in history]
    if json:
        rows = zip(history, says, strict=True)
        show_json([{**entry_document(entry, names), "says": told} for entry, told in rows])
        return
    show_table(
        ("block", "at", "what happened"),
        ((entry.block, moment(entry.time), told) for entry, told in zip(history, says, strict=True)),
    )


def show(
    task: TaskArgument,
    round_: Annotated[int | None, typer.Argument(metavar="[ROUND]", help="The last one unless told.", min=1)] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every round that led to the model.")] = False,
    ledger: LedgerOption = None,
    blobs: BlobsOption = None,
    contract: ContractOption = None,
    former: FormerOption = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Show how a model came to be: its code, who had a part in it with which data, and the round that made it.

    With --all, every round before that one too; --json has them all. Where the moot continues another one and the model
    begins with one of that moot's, --former goes on there; without it, the last line says what is not covered.
    """
    from folkmoot.peer.lineage import lineage

    with sources_of(home, ledger, contract, blobs, former=former) as sources:
        found = lineage(sources, task, round_)
        names = [sources.register.names]
        while sources.former is not None:
            sources = sources.former
            names.append(sources.register.names)
    if json:
        show_json(_document(found, names))
        return
    _show_lineages(found, names, all_)


def _document(found: Lineage, moots: Sequence[Mapping[int, str]]) -> dict[str, Any]:
    """A lineage as JSON, in the words of the other documents; ``moots`` has the names of its members, and of those of
    each moot before it."""
    import msgspec

    from folkmoot.ledger.documents import terms_document
    from folkmoot.ledger.records import iso, number_of

    def stretch(told: Any) -> dict[str, Any]:
        proposer, without = told.pop("proposer"), told.pop("without")
        who = {"proposed_by": names[proposer], "without": [names[member] for member in without]}
        return {**told, **who, "terms": terms_document(told["terms"])}

    def share(told: Any) -> dict[str, Any]:
        until, last = told.pop("until"), told.pop("last")
        bounds = {"until": None if until is None else iso(until), "last_round": last}
        return {**told, **bounds, "member": number_of(told["member"])}

    def step(told: Any) -> dict[str, Any]:
        counted = {"attempt": told["attempt"] + 1, "time": iso(told["time"]), "of_members": told.pop("members")}
        signed = [names[member] for member in told.pop("signers")]
        return {**told, **counted, "signed_by": signed, "survivors": [share(one) for one in told["survivors"]]}

    names, *earlier = moots
    told = msgspec.to_builtins(found)
    former = None if found.former is None else _document(found.former, earlier)
    course, steps = [stretch(s) for s in told["course"]], [step(s) for s in told["steps"]]
    return {**told, "course": course, "steps": steps, "former": former}


def _show_lineages(found: Lineage, moots: Sequence[Mapping[int, str]], every: bool) -> None:
    """A lineage for people, then what went before the moot's move, and what of that is not covered."""
    names, *earlier = moots
    _show_lineage(found, names, every)
    if found.continues is not None and found.continues.not_covered:
        print(f"\nnot covered: {found.continues.not_covered}; see --former")
    elif found.former is not None:
        print(f"\nThe model that it begins with was made before the moot moved here from {found.former.contract}:")
        _show_lineages(found.former, earlier, every)


def _show_lineage(found: Lineage, names: Mapping[int, str], every: bool) -> None:
    print(f"model {found.model}: task {found.task}, round {found.round}")
    print(f"made in {found.moot!r}, contract {found.contract} on chain {found.chain_id}")
    for stretch in found.course:
        without = f", without {', '.join(names[m] for m in stretch.without)}" if stretch.without else ""
        print(f"task {stretch.task}: code {stretch.bundle}{without}")
        print(f"  proposed by {names[stretch.proposer]}: {stretch.proposed}")
        print(f"  adopted: {stretch.adopted}")
        print(f"  starts from {stretch.genesis}")
    rounds = Counter((share.name, share.dataset) for step in found.steps for share in step.survivors)
    print()
    show_table(
        ("member", "dataset", "records", "card", "rounds"),
        (
            (share.name, share.dataset, share.records, share.card[:12], rounds[share.name, share.dataset])
            for share in sorted(found.datasets.values(), key=lambda share: share.dataset)
        ),
        title=f"Who had a part in it, in {len(found.steps)} rounds",
    )
    print()
    _show_steps(found.steps if every else found.steps[-1:])
    if not every and len(found.steps) > 1:
        print(f"\nThe other {len(found.steps) - 1} rounds: folkmoot show {found.task} {found.round} --all")


def _show_steps(steps: Sequence[Step]) -> None:
    show_table(
        ("task", "round", "attempt", "member", "dataset", "granted in", "committed in", "model"),
        (
            (
                *(step.task, step.round, step.attempt + 1, share.name, share.dataset),
                *(f"block {share.grant.block}", f"block {share.commit.block}", step.model[:12]),
            )
            for step in steps
            for share in step.survivors
        ),
    )


def verify(
    ledger: LedgerOption = None,
    blobs: BlobsOption = None,
    contract: ContractOption = None,
    export: Annotated[
        Path | None, typer.Option("--export", help="An exported folder to check instead.", file_okay=False)
    ] = None,
    compare: Annotated[
        str | None, typer.Option(help="URL of another node, whose history has to be the same.", metavar="URL")
    ] = None,
    former: FormerOption = None,
    no_sandbox: NoSandboxOption = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Replay the whole history from ledger and blobs, trusting nobody; exit 1 at the first thing that does not hold.

    Runs every task's public code (its updates) again, in the sandbox. With --export, checks an exported model: with
    --ledger its rounds and grants too, with --blobs its metrics as well. With --former, the moot that this one
    continues is replayed too, or an export's rounds before the move are checked.
    """
    if export is not None:
        _verify_export(export, ledger, blobs, contract, former, json, sandbox=not no_sandbox)
        return
    from folkmoot.peer.home import Home
    from folkmoot.peer.sources import compare as hold_against
    from folkmoot.peer.verify import replay

    stores = blobs or [Home.open(home).blobs]
    with sources_of(home, ledger, contract, stores, sandbox=not no_sandbox, former=former) as sources:
        report = replay(sources)
        same = None if compare is None else hold_against(sources, compare)
        report.notes += _before(sources)
    if json:
        show_json(_verified(report))
        return
    for note in report.notes:
        print(note)
    for task, names in report.without.items():
        print(f"task {task}: no round counts a contribution of {', '.join(names)}")
    if same is not None:
        print(f"{same} entries of the ledger are the same at {compare}")
    print(f"verified: {report.rounds} rounds replayed, every hash holds")


def _before(sources: Sources) -> list[str]:
    """What is known of the moot that this one continues, if it does; where its ledger is given, that is replayed."""
    from folkmoot.errors import LocalError
    from folkmoot.peer import forebear
    from folkmoot.peer.verify import replay

    try:
        account, found = forebear.former_account(sources), forebear.taken_over(sources)
    except LocalError as missing:
        return [f"not covered: {missing}"]
    if sources.former is None:
        return [] if account is None else [*found, forebear.not_covered(account)]
    report = replay(sources.former)
    return [*found, f"{report.rounds} rounds of the moot before this one replayed, which moved here"]


def _verified(report: VerifyReport) -> dict[str, Any]:
    """What a replay held, as JSON."""
    return {
        "moot": report.moot,
        "members": report.members,
        "tasks": [
            {
                "task": task,
                "model": model,
                "without": report.without.get(task, ()),
                "metrics": [{"round": at, "metric": name, "value": v} for at, name, v in report.metrics.get(task, ())],
            }
            for task, model in report.models.items()
        ],
        "rounds": report.rounds,
        "blocks": report.blocks,
        "entries": report.entries,
        "contributions": report.consents,
        "expelled": report.expelled,
        "settlements": report.settlements,
        "notes": report.notes,
    }


def _verify_export(
    folder: Path,
    ledger: str | None,
    blobs: list[Path] | None,
    contract: str | None,
    former: str | None,
    json: bool,
    *,
    sandbox: bool,
) -> None:
    from folkmoot.peer.inspection import inspect
    from folkmoot.peer.verify import replay

    if ledger is None:
        report = inspect(folder)
    else:
        with sources_of(DEFAULT_HOME, ledger, contract, blobs, sandbox=sandbox, former=former) as sources:
            report = inspect(folder, sources, replay(sources) if blobs else None)
    found = report.lineage
    if json:
        told = {"model": found.model, "task": found.task, "round": found.round, "signer": report.signer}
        show_json({**told, "against_ledger": report.against_ledger, "notes": report.notes})
        return
    for note in report.notes:
        print(note)
    rounds = f"its {len(found.steps)} rounds and every grant are as on the ledger" if report.against_ledger else ""
    held = "model, card and statement are as " + report.signer + " signed them"
    print("verified: " + (f"{held}; {rounds}" if rounds else held))


def export(
    task: TaskArgument,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A .safetensors file, or a folder for model, card and lineage.")
    ],
    round_: Annotated[
        int | None, typer.Option("--round", help="The round whose model is wanted.", show_default="the last", min=1)
    ] = None,
    licence: Annotated[
        str, typer.Option("--license", help="What the model card says of it, as the Hugging Face hub names licences.")
    ] = "unknown",
    former: FormerOption = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Write the model of a final round: as a safetensors file, or with its card and its signed lineage as a folder.

    The file is as the model's framework loads it, strictly: the task's code writes it, in the sandbox. Where the moot
    continues another one, the lineage of a folder goes on there with --former; without it, card and lineage say what
    is not covered.
    """
    from folkmoot.peer.export import export as write
    from folkmoot.peer.export import export_folder
    from folkmoot.peer.home import Home

    if out.suffix == ".safetensors" and not out.is_dir():
        final = write(Home.open(home), task, out, round_)
        round, model = final.round, final.model.hex()
    else:
        found = export_folder(Home.open(home), task, out, round_, licence, former)
        round, model = found.round, found.model
    if json:
        show_json({"path": str(out), "task": task, "round": round, "model": model})
    else:
        print(f"{out}: the model of round {round}, hash {model}")


def unlearn(
    member: Annotated[str, typer.Argument(help="Name or number of the member; see folkmoot members.")],
    task: TaskArgument,
    no_sandbox: NoSandboxOption = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Propose that a task is trained again without a member, from the last model it had no part in.

    The new task has the same code. Each peer checks its start against the ledger, and attests to nothing of the member;
    folkmoot verify shows that no round counts it. The others adopt it by vote, and each grants it anew.
    """
    from folkmoot.ledger.records import member_named
    from folkmoot.peer.home import Home
    from folkmoot.peer.unlearn import propose_without

    peer = Home.open(home)
    who = member_named(peer.moot().members(), member).name
    record, pin = propose_without(peer, task, who, sandbox=not no_sandbox)
    if json:
        start = {"task": pin.task, "round": pin.round, "model": pin.model}
        names = {m.index: m.name for m in peer.moot().members()}
        without = [names[member] for member in pin.without]
        told = {"rounds": pin.rounds, "start_members": pin.start_members, "without": without, "continues": start}
        show_json({"task": record.id, **told})
        return
    begins = f"round {pin.round} of task {pin.task}" if pin.round else f"the first state of task {pin.task}"
    print(f"task {record.id} continues from {begins} without {who}: {pin.rounds} rounds, model {pin.model}")
    print(f"Next: folkmoot review {record.id}, folkmoot vote, and folkmoot grant {record.id} DATASET")
