"""Verbs about datasets: what a member says of them on the ledger, and where they lie, which it tells no one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from folkmoot.cli.rehearsing import NoSandboxOption, rehearsed, summary
from folkmoot.cli.show import DEFAULT_HOME, HomeOption, JsonOption, short, show_json, show_table

if TYPE_CHECKING:
    from folkmoot.ledger.records import Dataset
    from folkmoot.peer.home import Home

__all__ = ["app"]

app = typer.Typer(
    help="Describe your datasets on the ledger, and keep them in step with the data.", no_args_is_help=True
)


RecordsOption = Annotated[
    str,
    typer.Option(
        metavar="N|auto",
        help="Records to tell the others; auto counts them, to two digits: what --task loads, else what the file says.",
    ),
]
TaskOption = Annotated[
    Path | None, typer.Option(help="A task file or folder to rehearse on it first, in the sandbox.", exists=True)
]
DatasetArgument = Annotated[int, typer.Argument(help="Id of one of your datasets; see folkmoot data list.", min=1)]


@app.command("add")
def add(
    path: Annotated[Path, typer.Argument(help="The file or folder; it stays where it is.", exists=True)],
    records: RecordsOption = "auto",
    description: Annotated[str, typer.Option(help="A sentence about it; only its hash goes on the ledger.")] = "",
    schema: Annotated[
        Path | None,
        typer.Option(help="A file on what its records look like; its hash goes on the ledger.", dir_okay=False),
    ] = None,
    terms: Annotated[
        Path | None,
        typer.Option(help="A file with what you ask of whoever trains on it; likewise.", dir_okay=False),
    ] = None,
    task: TaskOption = None,
    no_sandbox: NoSandboxOption = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Describe a dataset on the ledger: a hash and a rounded number of records, never its values.

    Its fingerprint goes into the hash, so a grant is for the data as it is now: see folkmoot data update.
    """
    from folkmoot.peer.datasets import add_dataset
    from folkmoot.peer.home import Home

    peer = Home.open(home)
    known, told = _counted(peer, path, records, task, sandbox=not no_sandbox)
    dataset = add_dataset(peer, path, known, description, schema=schema, terms=terms)
    _show(peer, dataset, told, json)
    if not json:
        print(f"Next: folkmoot review TASK, what would run on it; then folkmoot grant TASK {dataset.id}")


@app.command("update")
def update(
    dataset: DatasetArgument,
    path: Annotated[
        Path | None, typer.Argument(help="Where it lies now; where it was, if not given.", exists=True)
    ] = None,
    records: RecordsOption = "auto",
    task: TaskOption = None,
    no_sandbox: NoSandboxOption = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Take up a dataset that has changed: it is described anew, under a new number, and no grant is for it yet.

    Grants of the old one are revoked. What was spent of its privacy counts for the new one too.
    """
    from folkmoot.errors import DataError
    from folkmoot.peer.datasets import place_of, update_dataset
    from folkmoot.peer.home import Home

    peer = Home.open(home)
    path = place_of(peer, dataset) if path is None else path
    if not path.exists():
        raise DataError(f"{path} does not exist; say where dataset {dataset} lies now: data update {dataset} PATH")
    known, told = _counted(peer, path, records, task, sandbox=not no_sandbox)
    updated = update_dataset(peer, dataset, known, path)
    _show(peer, updated.dataset, told, json, takes_place_of=dataset, revoked=list(updated.tasks))
    if not json:
        print(f"it takes the place of dataset {dataset}, which is granted to nothing any more")
        for number in updated.tasks:
            print(f"To let task {number} train on it: folkmoot grant {number} {updated.dataset.id}")


@app.command("relink")
def relink(
    dataset: DatasetArgument,
    path: Annotated[Path, typer.Argument(help="Where its file or folder lies.", exists=True)],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Say where a dataset lies that was moved, or that a backup has brought back; its grants go on.

    What lies there must be what the dataset was described by, to the byte.
    """
    from folkmoot.peer.datasets import relink as link
    from folkmoot.peer.home import Home

    link(Home.open(home), dataset, path)
    print(f"dataset {dataset} lies at {path.absolute()}, as it was described")


@app.command("list")
def list_(
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """List the datasets of all members; the paths of your own are known only here."""
    from folkmoot.ledger.documents import dataset_document
    from folkmoot.peer.home import Home

    peer = Home.open(home)
    moot, paths = peer.moot(), peer.data()
    names = {member.index: member.name for member in moot.members()}
    found = moot.datasets()
    if json:
        show_json([{**dataset_document(d, names), "path": paths.get(d.id)} for d in found])
    else:
        show_table(
            ("dataset", "owner", "records", "card", "path"),
            ((d.id, names[d.owner], d.records, short(d.card), paths.get(d.id)) for d in found),
        )


@app.command("sample")
def sample(
    folder: Annotated[Path, typer.Argument(help="Where to put the files; made if it is not there.", file_okay=False)],
) -> None:
    """Copy the packaged sample data, heart disease in four hospitals, and the task for them."""
    from folkmoot.errors import LocalError
    from folkmoot.learn.heart import hospitals

    files = {f"{name}.data": path for name, path in hospitals().items()}
    data = next(iter(files.values())).parent
    files |= {"heart.py": data.parent / "tasks" / "heart.py", "ATTRIBUTION.md": data / "ATTRIBUTION.md"}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, path in files.items():
            if (folder / name).exists():
                raise LocalError(f"{folder / name} exists and is not overwritten; name another folder")
            (folder / name).write_bytes(path.read_bytes())
    except OSError as error:
        raise LocalError(f"cannot write to {folder}: {error.strerror}") from None
    print(f"{', '.join(files)} are in {folder}")


def _counted(peer: Home, path: Path, records: str, task: Path | None, *, sandbox: bool) -> tuple[int, list[str]]:
    """How many records to tell the others, and what there is to be said of the rehearsal of ``task``."""
    from folkmoot.peer.datasets import count_records, rounded
    from folkmoot.task import make_bundle

    examples, told = None, []
    if task is not None:
        report = rehearsed(make_bundle(task), [path], home=peer, sandbox=sandbox)
        report.check()
        examples, told = report.surveys[str(path)].examples, list(summary(report))
    if records != "auto":
        return _number(records), told
    return count_records(path) if examples is None else rounded(examples), told


def _show(peer: Home, dataset: Dataset, told: Sequence[str], json: bool, **more: object) -> None:
    from folkmoot.ledger.documents import dataset_document

    if json:
        show_json({**dataset_document(dataset, {dataset.owner: peer.config.name}), **more})
        return
    for line in told:
        print(line)
    print(f"dataset {dataset.id}: {dataset.records} records, card {short(dataset.card)}")


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) >= 1 << 64:
        raise typer.BadParameter(f"{text!r} is neither a number below 2**64 nor 'auto'", param_hint="--records")
    return int(text)
