import re
import subprocess
import sys

import pytest
from command_line import Folkmoot

HEAVY = {"web3", "eth_account", "torch", "numpy", "iroh", "pyrevm", "sklearn", "msgspec", "cryptography"}


def test_help_imports_nothing_heavy() -> None:
    code = "import sys\nfrom folkmoot.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += f"print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage: folkmoot" in ran.stdout
    assert ran.stderr.strip() == "[]"


def test_python_m_folkmoot_is_the_command() -> None:
    ran = subprocess.run([sys.executable, "-m", "folkmoot", "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"folkmoot \d+\.\d+\.\d+\n", ran.stdout)


@pytest.mark.parametrize(
    "verb",
    [
        *("new", "join", "invite", "members", "id", "backup", "restore"),
        *("data", "propose", "tasks", "review", "grant", "revoke"),
        *("run", "status", "log", "verify", "export", "demo"),
    ],
)
def test_every_verb_has_help(folkmoot: Folkmoot, verb: str) -> None:
    ran = folkmoot(verb, "--help")
    assert ran.code == 0
    assert f"Usage: folkmoot {verb}" in ran.out
    assert f" {verb} " in folkmoot("--help").out


@pytest.mark.parametrize(
    "verb",
    [("id",), ("tasks",), ("members",), ("data", "list"), ("log", "1"), ("review", "1"), ("status",), ("verify",)],
)
def test_everything_that_lists_offers_json(folkmoot: Folkmoot, verb: tuple[str, ...]) -> None:
    assert "--json" in folkmoot(*verb, "--help").out


@pytest.mark.parametrize(
    "words",
    [("grant", "one", "2"), ("demo", "--peers", "2"), ("nonsense",), ("new", "heart"), ("tasks", "--nonsense")],
)
def test_wrong_usage_exits_2(folkmoot: Folkmoot, words: tuple[str, ...]) -> None:
    assert folkmoot(*words).code == 2


@pytest.mark.parametrize("words", [("tasks",), ("members",), ("run",), ("status",), ("data", "list"), ("verify",)])
def test_an_error_is_one_sentence_with_what_to_do(folkmoot: Folkmoot, words: tuple[str, ...]) -> None:
    ran = folkmoot(*words)
    assert ran.code == 1
    assert ran.out == ""
    assert ran.err.count("\n") == 1
    assert ran.err.startswith("folkmoot: ")
    assert "folkmoot new" in ran.err
    assert "folkmoot join" in ran.err


def test_debug_shows_the_traceback_wherever_it_stands(folkmoot: Folkmoot) -> None:
    for words in (("--debug", "tasks"), ("tasks", "--debug")):
        ran = subprocess.run(
            [sys.executable, "-m", "folkmoot", *words, "--home", "/nonexistent"], capture_output=True, text=True
        )
        assert ran.returncode == 1
        assert "Traceback" in ran.stderr


def test_completion_is_offered(folkmoot: Folkmoot) -> None:
    assert "--install-completion" in folkmoot("--help").out


def test_output_into_a_pipe_that_closes_is_no_error() -> None:
    ran = subprocess.run(
        f"{sys.executable} -m folkmoot --help | head -1", shell=True, capture_output=True, text=True, check=True
    )
    assert ran.stderr == ""
