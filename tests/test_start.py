"""What the command and a peer do not wait for: libraries that only other uses of them need.

Held by the names of the modules that were imported, not by time.
"""

import subprocess
import sys
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import pytest

from folkmoot.cli.app import command
from folkmoot.peer.local import LocalMoot
from folkmoot.peer.status import PeerStatus, TaskStatus, write_status

BY_TYPER = {"pydantic"} if find_spec("typer._adapters") else set()
"""What typer imports to parse what was typed: nothing, in the releases that pyproject.toml asks for."""
NODE = {"web3", "eth_account", "eth_abi", "eth_utils", "eth_keys", "py_ecc", "rlp", "pydantic", "aiohttp", "requests"}
"""What speaks to a node of a real chain; a peer on the embedded chain never does."""
LEARNING = {"torch", "sklearn", "scipy", "pandas"}
"""What a task may use, in the worker; nothing else of ours does."""

VERBS = """
import io, json, sys
from contextlib import redirect_stdout
from folkmoot.cli import main

def say(who, *words):
    with redirect_stdout(io.StringIO()) as out:
        try:
            main([*words, "--home", f"{folder}/{who}"])
        except SystemExit as end:
            assert not end.code, words
    return out.getvalue()

folder, task, data = sys.argv[1:]
ticket = json.loads(say("ann", "new", "heart", "--seats", "4", "--as", "ann", "--json"))["ticket"]
say("bob", "join", ticket, "--as", "bob")
say("bob", "data", "add", data, "--records", "100")
say("ann", "propose", task, "--data", data)
say("bob", "grant", "1", "1", "--no-rehearsal")
say("bob", "members")
say("bob", "status")
"""


def imported(code: str, *arguments: object) -> set[str]:
    """The packages that a Python has imported after running ``code``."""
    code += "\nimport sys\nprint(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return set(ran.stderr.splitlines()[-1].split())


def test_a_peer_starts_without_what_only_a_node_a_task_or_a_worker_needs() -> None:
    assert not imported("import folkmoot.peer.__main__") & (NODE | LEARNING | {"numpy", "safetensors", "typer", "rich"})


@pytest.mark.parametrize("module", ["demo_course", "demo_report"])
def test_the_demo_starts_without_what_only_a_node_or_a_task_needs(module: str) -> None:
    assert not imported(f"import folkmoot.cli.{module}") & (NODE | LEARNING)


def test_a_worker_starts_without_ledger_network_and_learning() -> None:
    assert not imported("import folkmoot.peer.worker") & (NODE | LEARNING | {"iroh", "pyrevm", "cryptography", "typer"})


def test_help_is_printed_without_any_of_it() -> None:
    code = "from folkmoot.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    light = {"numpy", "msgspec", "iroh", "pyrevm", "cryptography", "coincurve", "asyncio"}
    assert not imported(code) & (NODE | LEARNING | light)


def test_the_verbs_of_an_embedded_moot_never_import_what_a_node_needs(tmp_path: Path) -> None:
    task = files("folkmoot").joinpath("data/tasks/heart.py")
    data = files("folkmoot").joinpath("data/heart_disease/processed.va.data")
    assert not imported(VERBS, tmp_path, task, data) & (NODE - BY_TYPER | LEARNING)


# ---- what people type to look ----------------------------------------------------------------------------------------

LOOK = """
import sys
from folkmoot.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert not end.code
"""
LEDGER = {"pyrevm", "sqlite3", "coincurve", "cryptography", "iroh"}
"""What a chain, a member's keys and the network take."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Anna's, who has a task and a dataset, and whose peer ran once."""
    folder = tmp_path_factory.mktemp("looking")
    moot = LocalMoot.found(folder, ("anna", "bert", "carl", "dora"), name="m")
    (folder / "data.csv").write_text("1\n")
    moot.offer(Path(str(files("folkmoot").joinpath("data/tasks/heart.py"))), {"anna": folder / "data.csv"})
    write_status(moot.homes["anna"], PeerStatus(name="anna", pid=1, tasks=[TaskStatus(task=1, name="heart")]))
    return moot.homes["anna"].path


@pytest.mark.parametrize("verb", ["status", "privacy"])
@pytest.mark.parametrize("json", [(), ("--json",)])
def test_what_the_peer_wrote_is_shown_without_a_chain_or_keys(home: Path, verb: str, json: tuple[str, ...]) -> None:
    brought = imported(LOOK, verb, "--home", home, *json)
    assert not brought & (NODE - BY_TYPER | LEARNING | LEDGER | {"numpy", "safetensors", "asyncio"})


@pytest.mark.parametrize(
    "verb", ["members", "tasks", "tasks --json", "data list", "motions", "log", "log 1", "wait 1 --round 1 --timeout 0"]
)
def test_what_the_ledger_has_is_shown_without_arithmetic_or_network(home: Path, verb: str) -> None:
    look = LOOK.replace("not end.code", "end.code in (0, 4, None)")
    brought = imported(look, *verb.split(), "--home", home)
    assert not brought & (NODE - BY_TYPER | LEARNING | {"numpy", "safetensors", "iroh", "asyncio"})


def test_a_verb_imports_no_other_verbs() -> None:
    code = "import sys\nfrom folkmoot.cli.app import command\ncommand('status')\n"
    code += "print(*sorted(m for m in sys.modules if m.startswith('folkmoot.cli.')))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {f"folkmoot.cli.{other}" for other in ("tasks", "history", "demo", "members")} & set(ran.stdout.split())
    assert len(command("status").registered_commands) == 1
    assert len(command("no such verb").registered_commands) > 20
