"""What the command and a peer do not wait for: libraries that only other uses of them need.

Held by the names of the modules that were imported, not by time.
"""

import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

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
    # typer brings pydantic along as it parses
    assert not imported(VERBS, tmp_path, task, data) & (NODE - {"pydantic"} | LEARNING)
