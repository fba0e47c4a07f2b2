"""Verbs about datasets: what a member says of them on the ledger, and where they lie, which it tells no one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from folkmoot.cli.rehearsing import NoSandboxOption, rehearsed, summary
from folkmoot.cli.show import DEFAULT_HOME, HomeOption, JsonOption, short, show_json, show_table

__all__ = ["app"]

app = typer.Typer(help="Describe your datasets on the ledger.", no_args_is_help=True)


@app.command("add")
def add(
    path: Annotated[Path, typer.Argument(help="The file or folder; it stays where it is.", exists=True)],
    records: Annotated[
        str, typer.Option(metavar="N|auto", help="Records to tell the others; auto counts lines, to two digits.")
    ] = "auto",
    description: Annotated[str, typer.Option(help="A sentence about it; only its hash goes on the ledger.")] = "",
    schema: Annotated[
        Path | None,
        typer.Option(help="A file on what its records look like; its hash goes on the ledger.", dir_okay=False),
    ] = None,
    terms: Annotated[
        Path | None,
        typer.Option(help="A file with what you ask of whoever trains on it; likewise.", dir_okay=False),
    ] = None,
    task: Annotated[
        Path | None,
        typer.Option(help="A task file or folder to rehearse on it first, in the sandbox.", exists=True),
    ] = None,
    no_sandbox: NoSandboxOption = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Describe a dataset on the ledger: a hash and a rounded number of records, never its values."""
    from folkmoot.ledger.documents import dataset_document
    from folkmoot.peer.home import Home
    from folkmoot.peer.offering import add_dataset, count_records

    peer = Home.open(home)
    if task is not None:
        from folkmoot.task import make_bundle

        report = rehearsed(make_bundle(task), [path], home=peer, sandbox=not no_sandbox)
        report.check()
    known = count_records(path) if records == "auto" else _number(records)
    dataset = add_dataset(peer, path, known, description, schema=schema, terms=terms)
    if json:
        show_json(dataset_document(dataset, {dataset.owner: peer.config.name}))
    else:
        if task is not None:
            print(*summary(report), sep="\n")
        print(f"dataset {dataset.id}: {dataset.records} records, card {short(dataset.card)}")
        print(f"Next: folkmoot review TASK, what would run on it; then folkmoot grant TASK {dataset.id}")


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


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) >= 1 << 64:
        raise typer.BadParameter(f"{text!r} is neither a number below 2**64 nor 'auto'", param_hint="--records")
    return int(text)
