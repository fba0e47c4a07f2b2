import os
from pathlib import Path

import pytest
from command_line import Folkmoot, Outcome

from folkmoot.cli import main
from folkmoot.peer.sandbox import VARIABLE, trouble

# The tests' tasks are our own: where no sandbox can be made for them, they run without.
if VARIABLE not in os.environ and trouble() is not None:
    os.environ[VARIABLE] = "none"


@pytest.fixture
def folkmoot(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Folkmoot:
    """The command, run in this process; its exit code and what it printed."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("FOLKMOOT_HOME", str(tmp_path / "home"))

    def run(*words: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main([str(word) for word in words])
        captured = capsys.readouterr()
        code = leaving.value.code
        return Outcome(code if isinstance(code, int) else 0, captured.out, captured.err)

    return run
