"""Every verb that writes, on a disk that takes nothing: it names the path and the cure, and calls nothing a bug."""

import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command_line import Folkmoot, Outcome

from folkmoot.ledger.motions import Kind
from folkmoot.peer import governing
from folkmoot.peer.local import LocalMoot


@contextmanager
def full_disk() -> Iterator[None]:
    """No file grows meanwhile: the kernel refuses as it does on a full disk."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture(scope="module")
def moot(tmp_path_factory: pytest.TempPathFactory) -> LocalMoot:
    made = LocalMoot.found(tmp_path_factory.mktemp("moot"), ["anna", "bert", "carl"], name="full")
    governing.move(made.homes["bert"].moot(), Kind.REMOVE, 2)
    (made.folder / "data.csv").write_text("1\n2\n")
    return made


@pytest.fixture
def said(folkmoot: Folkmoot, moot: LocalMoot) -> Callable[..., Outcome]:
    def on_a_full_disk(*words: object) -> Outcome:
        with full_disk():
            return folkmoot(*words)

    return on_a_full_disk


VERBS = {
    "data add": ("data", "add", "data.csv", "--records", "2"),
    "vote": ("vote", "1"),
    "move": ("move", "remove", "carl"),
    "new": ("new", "other", "--as", "dora"),
    "backup": ("backup", "--file", "copy"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_on_a_full_disk_names_the_path_and_the_cure(
    said: Callable[..., Outcome], moot: LocalMoot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verb: str
) -> None:
    monkeypatch.chdir(moot.folder)
    home = tmp_path / "fresh" if verb == "new" else moot.homes["anna"].path
    outcome = said(*VERBS[verb], "--home", home)
    assert outcome.code == 1
    assert "bug" not in outcome.err
    assert any(path in outcome.err for path in (str(moot.folder), str(tmp_path), "copy:"))
    assert "free some space" in outcome.err or "Free space" in outcome.err or "is it full" in outcome.err
