"""Rooms import downwards only: the table of docs/architecture.md, held against every import in every file."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "folkmoot"
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "digest": set(),
    "keccak": set(),
    "task": {"errors", "digest"},
    "privacy": {"errors", "digest", "task"},
    "learn": {"errors", "task", "privacy"},
    "round": {"errors", "digest", "keccak", "task", "privacy"},
    "store": {"errors", "digest"},
    "network": {"errors", "digest", "store"},
    "ledger": {"errors", "keccak", "round.view"},
    "reward": {"errors", "digest", "task", "round"},
    "peer": {"errors", "digest", "keccak", "task", "privacy", "round", "store", "network", "ledger", "reward"},
    "simulate": {"errors", "digest", "task", "learn", "round", "reward", "peer"},
    "cli": {"errors", "digest", "task", "privacy", "learn", "round", "ledger", "reward", "peer", "simulate"},
}
"""For each room, what it may import besides itself: rooms, or single modules of a room."""
DOORS = {"__init__.py": {"errors", "learn", "task"}, "__main__.py": {"cli"}}
"""The two files that stand in no room."""


def imports(file: Path) -> Iterator[str]:
    """Every module of ours that a file imports, anywhere in it, without the ``folkmoot.`` in front."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file.name} imports relatively; name the module in full"
            # what is imported from a package may be a module in it
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name == "folkmoot" or name.startswith("folkmoot."):
                yield name.removeprefix("folkmoot").removeprefix(".")


def strays(file: Path, allowed: set[str]) -> list[str]:
    return [name for name in imports(file) if not any(f"{name}.".startswith(f"{room}.") for room in allowed)]


def rooms() -> list[str]:
    packages = {file.relative_to(SOURCE).parts[0].removesuffix(".py") for file in SOURCE.rglob("*.py")}
    return sorted(packages - {"__init__", "__main__", "data"})


def test_every_room_has_its_place() -> None:
    assert rooms() == sorted(MAY_IMPORT)


def test_no_two_rooms_import_each_other() -> None:
    above: dict[str, set[str]] = {}
    for room, below in MAY_IMPORT.items():
        lower = {name.partition(".")[0] for name in below}
        assert lower <= set(above), f"{room} may import what stands above it"
        above[room] = lower


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_a_room_imports_only_what_is_below_it(room: str) -> None:
    files = [SOURCE / f"{room}.py"] if (SOURCE / f"{room}.py").exists() else sorted((SOURCE / room).rglob("*.py"))
    found = {str(file.relative_to(SOURCE)): strays(file, MAY_IMPORT[room] | {room}) for file in files}
    assert not {file: names for file, names in found.items() if names}


@pytest.mark.parametrize(("file", "allowed"), DOORS.items())
def test_the_doors_lead_where_they_should(file: str, allowed: set[str]) -> None:
    assert strays(SOURCE / file, allowed) == []
