"""Commands that run the code of tasks, and what that code gets at: nothing, unless somebody does without a sandbox."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))
import handmade

from folkmoot.errors import LocalError
from folkmoot.peer.journal import Journal, overrides
from folkmoot.peer.offering import propose
from folkmoot.peer.sandbox import VARIABLE, trouble
from folkmoot.peer.unlearn import propose_without
from folkmoot.peer.verify import verify

SPY = """

def spying(method):
    def look(*given):
        try:
            with open({secret!r}) as secret, open({mark!r}, "a") as mark:
                mark.write(secret.read())
        except OSError:
            pass
        return method(*given)
    return look


for name in ("init", "schema", "update", "metrics"):
    setattr(task, name, spying(getattr(task, name)))
"""


@pytest.fixture(scope="module")
def spied(tmp_path_factory: pytest.TempPathFactory) -> tuple[handmade.HandMade, Path]:
    """A moot whose task copies a secret into a file, wherever its public code may; and that file."""
    folder = tmp_path_factory.mktemp("spied")
    secret, mark = folder / "secret", folder / "mark"
    secret.write_text("a secret that nobody may see")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handmade, "TASK", handmade.TASK + SPY.format(secret=str(secret), mark=str(mark)))
        return handmade.story(folder / "moot"), mark


@pytest.fixture
def sandboxed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if (why := trouble()) is not None:
        pytest.skip(why)


def test_verify_runs_the_code_of_tasks_where_it_sees_nothing(
    sandboxed: None, spied: tuple[handmade.HandMade, Path]
) -> None:
    made, mark = spied
    mark.unlink(missing_ok=True)
    report = verify(made.ledger, None, [made.homes[0].blobs])
    assert (report.rounds, report.notes, mark.exists()) == (3, [], False)
    report = verify(made.ledger, None, [made.homes[0].blobs], sandbox=False)
    assert (report.rounds, mark.exists()) == (3, True)
    assert report.notes == ["the code of the tasks ran without a sandbox"]


def test_a_proposal_and_a_training_without_a_member_are_made_there_too(
    sandboxed: None, spied: tuple[handmade.HandMade, Path]
) -> None:
    made, mark = spied
    mark.unlink(missing_ok=True)
    home = made.homes[0]
    record, draft = propose(home, made.local.folder / "task.py")
    propose_without(home, 1, "dora")
    assert (record.id, draft.policy.rounds, mark.exists()) == (2, 3, False)


def test_where_no_sandbox_can_be_made_they_refuse_with_the_cure(
    spied: tuple[handmade.HandMade, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, mark = spied
    mark.unlink(missing_ok=True)
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    for call in (
        lambda: verify(made.ledger, None, [made.homes[0].blobs]),
        lambda: propose(made.homes[0], made.local.folder / "task.py"),
    ):
        with pytest.raises(LocalError, match=r"bwrap\) is not installed here.*--no-sandbox"):
            call()
    assert not mark.exists()


def test_what_is_done_without_one_is_on_the_peers_record(
    spied: tuple[handmade.HandMade, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = spied
    home = made.homes[1]
    shutil.copytree(made.homes[0].blobs, home.blobs, dirs_exist_ok=True)
    Journal(home.journal).close()
    monkeypatch.setenv(VARIABLE, "none")
    propose(home, made.local.folder / "task.py")
    assert [(override.what, override.how) for override in overrides(home)] == [
        ("sandbox", f"--no-sandbox or {VARIABLE}")
    ]
