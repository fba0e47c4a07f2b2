"""The log and the journal of a peer, by themselves."""

import math
from pathlib import Path

import msgspec
import pytest

from folkmoot.errors import JournalError, StoreError
from folkmoot.peer.journal import Journal, Source
from folkmoot.peer.log import Log, make_room
from folkmoot.peer.recall import Presence
from folkmoot.round.events import Key, Reveal

PARENT = bytes(32)


def test_a_log_is_set_aside_when_it_has_grown_large(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.jsonl", most=1000)
    for number in range(100):
        log.write("counted", number=number)
    log.close()
    assert (tmp_path / "log.jsonl").stat().st_size <= 1000
    lines = [(tmp_path / name).read_bytes().splitlines() for name in ("log.jsonl.1", "log.jsonl")]
    numbers = [msgspec.json.decode(line)["number"] for line in (*lines[0], *lines[1])]
    assert numbers == list(range(numbers[0], 100))


def test_a_log_goes_on_from_where_it_ended(tmp_path: Path) -> None:
    for event in ("one", "two"):
        log = Log(tmp_path / "log.jsonl")
        log.write(event, what=Path("anything that has a text"))
        log.close()
    events = [msgspec.json.decode(line)["event"] for line in (tmp_path / "log.jsonl").read_bytes().splitlines()]
    assert events == ["one", "two"]


def test_a_log_on_a_full_disk_is_silent() -> None:
    log = Log(Path("/dev/full"))
    log.write("lost")
    log.close()
    log.write("late")


def test_a_log_has_members_by_number_from_one(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.jsonl")
    log.write("accuses", member=0, task=1, round=0)
    log.close()
    line = msgspec.json.decode((tmp_path / "log.jsonl").read_bytes())
    assert (line["member"], line["task"], line["round"]) == (1, 1, 0)


def test_a_log_that_was_deleted_or_set_aside_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = Log(path)
    log.write("one")
    path.unlink()
    log.write("two")
    path.rename(tmp_path / "log.jsonl.of-yesterday")
    log.write("three")
    assert [msgspec.json.decode(line)["event"] for line in path.read_bytes().splitlines()] == ["three"]
    path.unlink()
    tmp_path.chmod(0o500)
    log.write("nowhere to go, unless root asks")
    tmp_path.chmod(0o700)
    log.write("four")
    log.close()
    assert b"four" in path.read_bytes()


def test_what_others_write_to_is_set_aside_too(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    make_room(path, most=10)
    path.write_text("short")
    make_room(path, most=10)
    assert path.read_text() == "short"
    path.write_text("long enough by now")
    make_room(path, most=10)
    assert not path.exists()


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.sqlite")


SOURCE = Source(7, (3, 7))


def reveal(number: int) -> Reveal:
    return Reveal(bytes([number]) * 32, (bytes([number]) * 32, bytes(32)))


def test_an_own_contribution_is_remembered_and_never_replaced(journal: Journal, tmp_path: Path) -> None:
    key = Key(1, 2, 0)
    assert journal.own(key) is None
    journal.remember(key, PARENT, reveal(1), 0.5, SOURCE)
    journal.remember(key, PARENT, reveal(2), 0.7, SOURCE)
    journal.close()
    assert Journal(tmp_path / "journal.sqlite").own(key) == (reveal(1), 0.5)


def test_an_earlier_attempt_counts_only_from_the_same_parent(journal: Journal) -> None:
    journal.remember(Key(1, 2, 0), PARENT, reveal(1), 0.5, SOURCE)
    journal.remember(Key(1, 2, 3), PARENT, reveal(3), 0.5, SOURCE)
    assert journal.earlier(Key(1, 2, 5), PARENT, SOURCE) == (reveal(3), 0.5)
    assert journal.earlier(Key(1, 2, 5), b"\1" * 32, SOURCE) is None
    assert journal.earlier(Key(1, 3, 0), PARENT, SOURCE) is None
    assert journal.earlier(Key(2, 2, 0), PARENT, SOURCE) is None


def test_an_earlier_contribution_is_used_again_only_where_the_grant_names_the_data_it_was_made_from(
    journal: Journal,
) -> None:
    journal.remember(Key(1, 2, 0), PARENT, reveal(1), 0.5, SOURCE)
    assert journal.made_from(Key(1, 2, 0)) == SOURCE
    assert journal.earlier(Key(1, 2, 1), PARENT, SOURCE) == (reveal(1), 0.5)
    assert journal.earlier(Key(1, 2, 1), PARENT, Source(8, SOURCE.line)) is None
    assert journal.earlier(Key(1, 2, 1), PARENT, Source(SOURCE.dataset, (*SOURCE.line, 9))) is None


def test_contributions_of_rounds_long_past_are_dropped(journal: Journal) -> None:
    for round in range(1, 101):
        journal.remember(Key(1, round, 0), PARENT, reveal(round), 0.0, SOURCE)
        journal.remember(Key(2, 1, round), PARENT, reveal(round), 0.0, SOURCE)
    assert journal.own(Key(1, 50, 0)) is None
    assert journal.own(Key(1, 95, 0)) == (reveal(95), 0.0)
    assert journal.own(Key(2, 1, 1)) == (reveal(1), 0.0)


def test_metrics_come_back_for_the_last_rounds_and_undefined_ones_too(journal: Journal) -> None:
    for round in range(10):
        journal.measured(1, round, {"loss": 1.0 / (1 + round), "auc": math.nan if round == 9 else 0.5})
    last = list(journal.metrics(1, 2))
    assert [(round, name) for round, name, _ in last] == [(8, "auc"), (8, "loss"), (9, "auc"), (9, "loss")]
    assert math.isnan(last[2][2])
    assert list(journal.metrics(2)) == []


def test_how_far_the_history_is_here_is_remembered_for_each_task(journal: Journal) -> None:
    assert journal.filled(1) == 0
    journal.fill(1, 7)
    journal.fill(1, 9)
    assert (journal.filled(1), journal.filled(2)) == (9, 0)


def test_a_file_that_is_no_journal_is_refused_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").write_bytes(b"no journal" * 100)
    with pytest.raises(StoreError, match=r"the journal .*journal\.sqlite is damaged"):
        Journal(tmp_path / "journal.sqlite")


def test_a_damaged_journal_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"no database at all, and long enough to be seen as such" * 40)
    with pytest.raises(JournalError, match=r"is damaged .* move journal.sqlite .* aside"):
        Journal(path)


def test_a_journal_that_is_deleted_while_it_is_open_is_written_anew(journal: Journal, tmp_path: Path) -> None:
    key = Key(1, 1, 0)
    journal.remember(key, PARENT, reveal(1), 1.0, SOURCE)
    assert journal.secure()
    for file in tmp_path.glob("journal.sqlite*"):
        file.unlink()
    assert not journal.secure()
    assert journal.secure()
    journal.close()
    assert Journal(tmp_path / "journal.sqlite").own(key) == (reveal(1), 1.0)


def test_a_journal_in_whose_place_another_is_put_is_not_written_over(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").rename(tmp_path / "old")
    Journal(tmp_path / "journal.sqlite").close()
    with pytest.raises(JournalError, match="another file was put in the place of the journal"):
        journal.secure()


def test_a_journal_tells_a_first_beginning_from_a_later_opening(tmp_path: Path) -> None:
    assert Journal(tmp_path / "journal.sqlite").new
    assert not Journal(tmp_path / "journal.sqlite").new


def test_another_word_on_where_a_peer_is_counts_only_once_its_own_has_stood() -> None:
    here, elsewhere, before = ("127.0.0.1:1",), ("10.0.0.2:1",), ("127.0.0.1:9",)
    presence = Presence()
    presence.says(here)
    assert not presence.is_foreign(before), "of the process that ran here before"
    assert not presence.is_foreign(here)
    presence.says(moved := ("192.168.0.7:1",))
    assert not presence.is_foreign(here), "not on the ledger yet"
    assert not presence.is_foreign(moved)
    assert presence.is_foreign(elsewhere)
