import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from folkmoot.errors import IntegrityError, LocalError
from folkmoot.network import Listening
from folkmoot.peer.backup import read_backup, restore, save_backup
from folkmoot.peer.datasets import add_dataset, check_granted, relink
from folkmoot.peer.founding import listens
from folkmoot.peer.home import Config, Home
from folkmoot.peer.identity import Identity
from folkmoot.peer.local import LocalMoot
from folkmoot.peer.status import Complaint, PeerStatus, TaskStatus, read_status, write_status

CONFIG = Config(name="cleveland", ledger="/srv/moot.sqlite", contract="0x" + "ab" * 20)


def test_a_new_home_is_private_and_opens_again(tmp_path: Path) -> None:
    made = Home.create(tmp_path / "home", CONFIG)
    assert made.path.stat().st_mode & 0o777 == 0o700
    assert made.identity_file.stat().st_mode & 0o777 == 0o600
    opened = Home.open(tmp_path / "home")
    assert opened.config == CONFIG
    assert opened.identity == made.identity


def test_an_identity_that_was_restored_before_is_kept(tmp_path: Path) -> None:
    restored = Home(tmp_path).ensure_identity(Identity(bytes(32)))
    assert Home.create(tmp_path, CONFIG).identity == restored


def test_another_identity_is_refused(tmp_path: Path) -> None:
    Home.create(tmp_path, CONFIG)
    with pytest.raises(LocalError, match="holds another identity"):
        Home(tmp_path).ensure_identity(Identity(bytes(32)))


def test_a_home_serves_one_moot(tmp_path: Path) -> None:
    Home.create(tmp_path, CONFIG)
    with pytest.raises(LocalError, match="belongs to another moot"):
        Home.create(tmp_path, msgspec.structs.replace(CONFIG, contract="0x" + "cd" * 20))
    assert Home.create(tmp_path, CONFIG).config == CONFIG


def test_a_folder_without_a_moot_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"folkmoot new.*folkmoot join.*--home"):
        Home.open(tmp_path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "malformed"),
        ('{"name": "a"}', "missing required field `ledger`"),
        ('{"name": "a", "ledger": "x", "contract": "0x", "port": 1}', "unknown field `port`"),
        ('{"name": 5, "ledger": "x", "contract": "0x"}', r"Expected `str`, got `int` - at `\$.name`"),
    ],
)
def test_a_malformed_configuration_is_named_with_its_field(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(LocalError, match=complaint):
        Home.open(tmp_path)


def test_paths_of_datasets_are_absolute_and_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home.create(tmp_path / "home", CONFIG)
    monkeypatch.chdir(tmp_path)
    assert home.data() == {}
    home.add_data(3, Path("a.csv"))
    home.add_data(7, tmp_path / "b.csv")
    assert home.data() == {3: str(tmp_path / "a.csv"), 7: str(tmp_path / "b.csv")}
    assert home.data_file.stat().st_mode & 0o777 == 0o600


def test_one_peer_at_a_time_runs_from_a_home_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    home = Home.create(tmp_path / "home", CONFIG)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, pathlib, time\nfrom folkmoot.peer.home import Home\n"
            "with Home(pathlib.Path(sys.argv[1])).lock():\n    print('held', flush=True)\n    time.sleep(600)",
            str(home.path),
        ],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(LocalError, match=f"process {holder.pid}"), home.lock():
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    with home.lock():
        pass


ERROR = Complaint(kind="disk", text="one", since=1.0, last=2.0)


def test_a_status_is_read_back_and_an_undefined_metric_is_left_out(tmp_path: Path) -> None:
    home = Home.create(tmp_path, CONFIG)
    assert read_status(home) is None
    task = TaskStatus(task=0, name="heart", round=2, phase="training", metrics={"auc": [(1, 0.5), (2, float("nan"))]})
    write_status(home, PeerStatus(name="cleveland", pid=1, tasks=[task], errors=[ERROR]))
    read = read_status(home)
    assert read is not None
    assert read.tasks[0].metrics == {"auc": [(1, 0.5)]}
    assert read.errors == [ERROR]


def test_writing_status_again_and_again_leaves_one_file(tmp_path: Path) -> None:
    home = Home.create(tmp_path, CONFIG)
    before = set(tmp_path.iterdir())
    for round in range(20):
        write_status(home, PeerStatus(name="cleveland", pid=round))
    assert set(tmp_path.iterdir()) - before == {home.status_file}


def test_a_malformed_status_is_an_error_in_words(tmp_path: Path) -> None:
    home = Home.create(tmp_path, CONFIG)
    home.status_file.write_text('{"name": "cleveland"}')
    with pytest.raises(LocalError, match="malformed"):
        read_status(home)


@pytest.mark.parametrize(
    ("bind", "got", "fixed", "kept"),
    [
        ("127.0.0.1:4100+", "127.0.0.1:4103+", False, "127.0.0.1:4103+"),  # and may move again: nobody minds
        ("127.0.0.1:4100+", "127.0.0.1:4103+", True, "127.0.0.1:4103"),  # who hosts a chain is looked for there
        ("0.0.0.0:4100+", "0.0.0.0:4101+", False, "0.0.0.0:4101"),  # a firewall names it from now on
        ("0.0.0.0:4100", "0.0.0.0:4100", False, "0.0.0.0:4100"),
        ("127.0.0.1:0", "127.0.0.1:50123", False, "127.0.0.1:0"),  # who asked for another port each time gets that
        ("127.0.0.1:0", "127.0.0.1:50123", True, "127.0.0.1:50123"),
    ],
)
def test_a_peer_keeps_the_port_that_it_got(tmp_path: Path, bind: str, got: str, fixed: bool, kept: str) -> None:
    home = Home.create(tmp_path, Config(name="anna", ledger="x", contract="0x" + "00" * 20, bind=bind))
    home.settle(Listening.parse(got), fixed=fixed)
    assert Home.open(tmp_path).config.bind == kept


def test_a_peer_listens_where_its_moot_is_unless_told() -> None:
    here, everywhere = "127.0.0.1:4100+", "0.0.0.0:4100+"
    key = "ab" * 32
    assert listens("/srv/ledger.sqlite") == here
    assert listens("http://127.0.0.1:8545,http://localhost:8546") == here
    assert listens("http://127.0.0.1:8545,https://node.example.org/key") == everywhere
    assert listens(f"host:{key}@127.0.0.1:4100") == here
    assert listens(f"host:{key}@127.0.0.1:4100,198.51.100.7:4100") == everywhere


def test_a_backup_file_brings_back_all_that_a_member_cannot_get_from_others(tmp_path: Path) -> None:
    moot = LocalMoot.found(tmp_path / "moot", ["anna", "bert"], name="test")
    home = moot.homes["anna"]
    for name in ("a.csv", "terms.txt"):
        (tmp_path / name).write_text("1\n2\n")
    add_dataset(home, tmp_path / "a.csv", 2, "two patients", terms=tmp_path / "terms.txt")
    save_backup(home, tmp_path / "backup.json")
    assert (tmp_path / "backup.json").stat().st_mode & 0o777 == 0o600

    back = restore(tmp_path / "back", *read_backup(tmp_path / "backup.json"))
    assert (back.identity, back.config, back.data()) == (home.identity, home.config, home.data())
    assert {card.name for card in back.cards.iterdir()} == {card.name for card in home.cards.iterdir()}
    (tmp_path / "a.csv").rename(tmp_path / "b.csv")
    relink(back, 1, tmp_path / "b.csv")
    assert check_granted(back, back.moot(), 1) == tmp_path / "b.csv"


def test_a_restored_home_keeps_what_it_knows_better(tmp_path: Path) -> None:
    home = LocalMoot.found(tmp_path / "moot", ["anna", "bert"], name="test").homes["anna"]
    (tmp_path / "a.csv").write_text("1\n2\n")
    add_dataset(home, tmp_path / "a.csv", 2)
    save_backup(home, tmp_path / "backup.json")
    home.add_data(1, tmp_path / "elsewhere.csv")
    restore(home.path, *read_backup(tmp_path / "backup.json"))
    assert home.data() == {1: str(tmp_path / "elsewhere.csv")}


def test_a_damaged_backup_is_refused(tmp_path: Path) -> None:
    home = LocalMoot.found(tmp_path / "moot", ["anna", "bert"], name="test").homes["anna"]
    (tmp_path / "a.csv").write_text("1\n2\n")
    add_dataset(home, tmp_path / "a.csv", 2)
    file = tmp_path / "backup.json"
    save_backup(home, file)
    (name,) = (card.name for card in home.cards.iterdir())
    whole = file.read_text()
    for wrong, words in (
        (whole.replace(name, f"../{name}"), "is damaged: the card"),
        (whole.replace(name, f"{bytes(32).hex()}.json"), "is damaged: the card"),
        (whole.replace("folkmoot-backup-1", "folkmoot-backup-2"), "this version reads folkmoot-backup-1"),
        (whole.replace(home.identity.seed.hex(), bytes(32).hex()), "its checksum does not fit"),
        (whole[:100], "is not an identity file"),
    ):
        assert wrong != whole
        file.write_text(wrong)
        with pytest.raises(IntegrityError, match=words):
            read_backup(file)
    file.chmod(0o644)
    with pytest.raises(LocalError, match="can be read by others"):
        read_backup(file)
