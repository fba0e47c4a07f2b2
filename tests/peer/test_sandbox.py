"""Malicious code of tasks on real workers and peers: it gets at nothing, breaks nothing, and the honest go on.

Where bubblewrap is missing it is sought among the system's packages; where no sandbox can be made, these tests are
skipped and say why. Those of the refusal run everywhere.
"""

import asyncio
import contextlib
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import rig
from hostile_task import ATTACKS

from folkmoot.digest import Hash, blob_hash
from folkmoot.errors import DataError, FolkmootError, IntegrityError, LocalError, StoreError, TaskError
from folkmoot.peer.asks import Advance, Contribute, Made, Prepare, Prepared
from folkmoot.peer.home import Config
from folkmoot.peer.journal import overrides
from folkmoot.peer.sandbox import VARIABLE, Sandbox, choose, trouble
from folkmoot.peer.seccomp import filter_program
from folkmoot.peer.workplace import Workplace
from folkmoot.store import Store
from folkmoot.task import make_bundle

HOSTILE = Path(__file__).with_name("hostile_task.py")
MEMORY = 1 << 30
SECRET = "a secret that nobody may see"
NAMES = ["anna", "bert", "carl"]
SECONDS = 30.0
ALLOWED = ("claims a blob", "fills the store", "holds threads")
"""What is possible, and comes to nothing or is meant to be."""
UNFILTERED = (
    "forks",
    "forks often",
    "runs a program",
    "leaves a process behind",
    "takes memory that is not counted",
    "speaks to the host of the machine",
)
"""What the filter of calls alone keeps from happening, which not every kind of processor has."""
CACHE = Path("~/.cache/folkmoot-tests").expanduser()


@pytest.fixture(scope="session")
def sandboxed() -> Iterator[None]:
    """A machine on which sandboxes can be made; the path of bubblewrap is on PATH."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(VARIABLE, raising=False)
        if shutil.which("bwrap") is None and (found := downloaded()) is not None:
            patch.setenv("PATH", f"{found.parent}{os.pathsep}{os.environ['PATH']}")
        why = trouble()
        if why is not None:
            pytest.skip(why)
        yield


def downloaded() -> Path | None:
    """Bubblewrap from the system's package archive, unpacked beside the tests' other caches."""
    program = CACHE / "usr" / "bin" / "bwrap"
    if not program.exists() and shutil.which("apt-get") and shutil.which("dpkg"):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            CACHE.mkdir(parents=True, exist_ok=True)
            fetch = ["apt-get", "download", "bubblewrap"]
            subprocess.run(fetch, cwd=CACHE, check=True, capture_output=True, timeout=20)
            for package in CACHE.glob("bubblewrap*.deb"):
                subprocess.run(["dpkg", "-x", package, CACHE], check=True, capture_output=True, timeout=20)
    return program if program.exists() else None


def hostile(path: Path, targets: dict[str, Any], *, loud: bool = True) -> Path:
    text = HOSTILE.read_text()
    for old, new in (("TARGETS = {}", f"TARGETS = {targets!r}"), ("LOUD = True", f"LOUD = {loud}")):
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


@contextlib.contextmanager
def targets(folder: Path, home: Path, data: Path) -> Iterator[dict[str, Any]]:
    """What there is to be stolen and broken on this machine."""
    user = folder / "user"
    keys = user / ".ssh" / "id_ed25519"
    keys.parent.mkdir(parents=True)
    for place in (keys, folder / "other.txt"):
        place.write_text(SECRET)
    assert all((home / name).exists() for name in ("identity.json", "journal.sqlite", "blobs"))
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(user))
        patch.setenv("DATABASE_PASSWORD", SECRET)
        yield {
            "home": str(user),
            "key": str(keys),
            "identity": str(home / "identity.json"),
            "journal": str(home / "journal.sqlite"),
            "store": str(home / "blobs"),
            "data": str(data),
            "other data": str(folder / "other.txt"),
            "port": listener.getsockname()[1],
            "written": [str(home / "new"), "/usr/new", "/etc/new", f"{sys.prefix}/lib/new"],
            "secret": SECRET,
            "pid": os.getpid(),
            "memory": MEMORY,
        }


@dataclass
class Place:
    """A worker of a peer's folder, and what it is asked."""

    home: Path
    store: Store
    work: Workplace
    state: Hash = b""

    async def begin(self, path: Path | None = None) -> None:
        if path is not None:
            await self.work.show(str(path))
        await self.work.load()
        self.state = (await self.work.ask(Prepare(None), Prepared, SECONDS)).state

    async def train(self, path: Path | str, attack: int = 0) -> Made:
        ask = Contribute(self.state, str(path), 1, bytes([attack]) + bytes(31), 1, bytes(32))
        return await self.work.ask(ask, Made, SECONDS)


def place(folder: Path, source: Path, *, memory: int = MEMORY) -> Place:
    home = folder / "home"
    store = Store(home / "blobs")
    bundle = store.put(make_bundle(source))
    return Place(home, store, Workplace(store, bundle, home / "worker.log", memory, Sandbox(home, memory)))


def with_worker(made: Place, work: Callable[[], Any]) -> Any:
    async def run() -> Any:
        try:
            return await work()
        finally:
            await made.work.close()

    return asyncio.run(run())


def with_a_sandbox(path: str) -> None:
    os.environ.pop(VARIABLE, None)
    os.environ["PATH"] = path


# ---- malicious code ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def said(sandboxed: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the malicious task said of each thing that it tried, in one worker; and then it was honest."""
    folder = tmp_path_factory.mktemp("hostile")
    home, data = folder / "home", folder / "data.txt"
    data.write_text("1\n2\n3\n")
    foreign = Store(home / "blobs").put(b"a contribution to another task")
    for name in ("identity.json", "journal.sqlite"):
        (home / name).write_text(SECRET)
    with targets(folder, home, data) as known:
        made = place(folder, hostile(folder / "task.py", known | {"foreign": foreign.hex()}))
        said: dict[str, str] = {}

        async def try_all() -> None:
            await made.begin(data)
            for at, attack in enumerate((*ATTACKS, "honest")):
                try:
                    shards = (await made.train(data, (at + 1) % (len(ATTACKS) + 1))).shards
                    said[attack] = f"made: {list(map(made.store.has, shards))}"
                except FolkmootError as error:
                    said[attack] = str(error)
            said["spoilt"] = str(list(made.store.verify_all()))
            said["starts"] = str(made.work.starts)

        with_worker(made, try_all)
        said["blobs"] = str(len(list(made.store.hashes())))
        said["data"] = data.read_text()
        said["written"] = str([place for place in known["written"] if Path(place).exists()])
    return said


@pytest.mark.parametrize("attack", [name for name in ATTACKS if name not in ALLOWED])
def test_malicious_code_does_not_get_far(said: dict[str, str], attack: str) -> None:
    if attack in UNFILTERED and filter_program() is None:
        pytest.skip("the calls of this kind of processor are not known to the filter")
    assert "failed: " in said[attack]
    assert SECRET not in said[attack]


def test_it_cannot_pass_off_a_blob_that_it_did_not_make(said: dict[str, str]) -> None:
    assert "it names a blob that it neither was lent nor has made" in said["claims a blob"]


def test_threads_are_allowed(said: dict[str, str]) -> None:
    assert "threads are allowed" in said["holds threads"]


def test_it_cannot_fill_the_store(said: dict[str, str]) -> None:
    """One blob for a shard, and no more: there are the bundle, the first state, another task's blob, that one, and the
    honest contribution."""
    assert "it delivers more than was asked for" in said["fills the store"]
    assert said["blobs"] == "5"


def test_what_is_made_honestly_after_all_that_is_there_and_nothing_is_spoilt(said: dict[str, str]) -> None:
    assert said["honest"] == "made: [True]"
    assert said["data"] == "1\n2\n3\n"
    assert said["spoilt"] == said["written"] == "[]"


def test_the_worker_stays_warm_through_all_that_fails(said: dict[str, str]) -> None:
    """But for what ends it: to answer out of turn."""
    assert said["starts"] == "3"


def test_peers_finish_a_task_whose_code_tries_all_of_it(sandboxed: None, tmp_path: Path) -> None:
    data = rig.tiny_data(tmp_path, NAMES)
    with rig.moot(tmp_path / "moot", NAMES, start=False) as moot:
        for home in moot.homes.values():
            home.write_config(msgspec.structs.replace(home.config, worker_memory=MEMORY))
        home = moot.homes["anna"]
        moot.start(before=with_a_sandbox, arguments=[os.environ["PATH"]])
        moot.until("anna runs", lambda: moot.peer_status("anna").state == "idle")
        with targets(tmp_path, home.path, data["anna"]) as known:
            task = moot.offer(hostile(tmp_path / "task.py", known, loud=False), data)
            model = moot.finish(task)
            moot.filled(task, "anna")
        assert moot.verify("anna").models == {task: model}
        tried = (home.path / "worker.log").read_text()
        assert all(f"{name} failed: " in tried for name in ATTACKS if name not in ALLOWED)
        assert "succeeded" not in tried
        assert SECRET not in tried
        assert moot.peer_status("anna").sandbox == "bubblewrap"
        assert overrides(home) == []


def test_the_dataset_is_in_the_sandbox_from_the_grant_until_it_is_withdrawn(sandboxed: None, tmp_path: Path) -> None:
    with rig.moot(tmp_path / "moot", NAMES, start=False) as moot:
        moot.start("anna", before=with_a_sandbox, arguments=[os.environ["PATH"]])
        data = rig.tiny_data(tmp_path, NAMES)
        task = moot.local.offer(rig.tiny_task(tmp_path / "task.py"), data)
        moot.ready(task, "anna")
        pid = moot.processes["anna"].pid

        def shown() -> bool | None:
            """Whether the one worker that runs has it among its mounts."""
            commands: list[str] = []
            with contextlib.suppress(OSError):  # ended since
                commands += [(Path("/proc") / str(child) / "cmdline").read_text() for child in rig.children(pid)]
            return str(data["anna"]) in commands[0] if len(commands) == 1 else None

        assert shown() is False
        moot.grant(task, "anna")
        moot.until("it is shown", lambda: shown() is True)
        moot.client("anna").revoke(task)
        moot.until("it is hidden", lambda: shown() is False)


# ---- what is shown -----------------------------------------------------------------------------------------------

MEAN = """
import os
from pathlib import Path
import numpy as np
from folkmoot.task import Contribution, Policy, State

class Mean:
    name = "mean"
    policy = Policy(rounds=2, min_members=3)
    def init(self):
        return State({"mean": np.zeros(SIZE)})
    def schema(self, state):
        return {"mean": (SIZE,)}
    def load(self, path):
        found = Path(path)
        files = sorted(found.rglob("*.txt")) if found.is_dir() else [found]
        print("in", found.parent, sorted(os.listdir(found.parent)), flush=True)
        return np.concatenate([np.loadtxt(file, ndmin=1) for file in files])
    def contribute(self, state, data, context):
        return Contribution({"mean": np.full(SIZE, data.mean())}, len(data))
    def update(self, state, aggregate):
        return State(dict(aggregate.arrays), state.round + 1, state.exponents)
    def metrics(self):
        return {}
    def evaluate(self, state, data):
        return {}

task = Mean()
"""


def mean_task(folder: Path, *, size: int = 4, before: str = "") -> Path:
    source = folder / "task.py"
    source.write_text(f"{before}\nSIZE = {size}\n{MEAN}")
    return source


@pytest.fixture
def mean(sandboxed: None, tmp_path: Path) -> Place:
    return place(tmp_path, mean_task(tmp_path))


def lies_at(folder: Path, where: str) -> Path:
    """A dataset in some place, as its owner would name it."""
    real = folder / "disk" / "numbers.txt"
    real.parent.mkdir()
    real.write_text("1\n2\n")
    if where == "behind symbolic links":
        (folder / "link").symlink_to(real.parent, target_is_directory=True)
        (folder / "link" / "data.txt").symlink_to("numbers.txt")
        return folder / "link" / "data.txt"
    if where == "in a folder":
        return real.parent
    if where == "in the peer's folder":
        (folder / "home" / "mine").mkdir(parents=True)
        return real.rename(folder / "home" / "mine" / "numbers.txt")
    if where == "up and down":
        return folder / "disk" / ".." / "disk" / "numbers.txt"
    return real


@pytest.mark.parametrize(
    "where", ["in a file", "behind symbolic links", "in a folder", "in the peer's folder", "up and down"]
)
def test_the_dataset_is_seen_wherever_it_lies_and_nothing_beside_it(mean: Place, tmp_path: Path, where: str) -> None:
    path = lies_at(tmp_path, where)
    (path.parent / "beside.txt").write_text("x")
    (mean.home / "identity.json").write_text(SECRET)

    async def train() -> None:
        await mean.begin()
        assert (await mean.train(path)).norm > 0
        assert mean.work.starts == 2, "first without, then with the dataset"
        await mean.train(path)
        assert mean.work.starts == 2

    with_worker(mean, train)
    (seen,) = [line for line in (mean.home / "worker.log").read_text().splitlines() if line.startswith("in ")]
    assert "beside" not in seen
    assert "identity" not in seen


@pytest.mark.parametrize("what", ["the folder itself", "one above", "the identity", "the store", "a link to it"])
def test_what_is_the_peers_own_is_never_shown(mean: Place, tmp_path: Path, what: str) -> None:
    (mean.home / "identity.json").write_text(SECRET)
    link = tmp_path / "link"
    link.symlink_to(mean.home, target_is_directory=True)
    path = {
        "the folder itself": mean.home,
        "one above": tmp_path,
        "the identity": mean.home / "identity.json",
        "the store": mean.home / "blobs",
        "a link to it": link,
    }[what]

    async def train() -> None:
        await mean.begin()
        with pytest.raises(DataError, match="which no task may see"):
            await mean.train(path)
        await mean.work.ask(Prepare(None), Prepared, SECONDS)

    with_worker(mean, train)


def test_a_dataset_that_is_put_in_anothers_place_is_seen_and_one_whose_grant_ended_is_not(
    mean: Place, tmp_path: Path
) -> None:
    path, new = tmp_path / "data.txt", tmp_path / "new.txt"

    async def train() -> None:
        await mean.begin()
        with pytest.raises(TaskError, match="No such file"):
            await mean.train(path)
        path.write_text("1\n")
        first = await mean.train(path)
        new.write_text("100\n")
        new.replace(path)
        second = await mean.train(path)
        assert second.norm > first.norm
        starts = mean.work.starts
        await mean.work.show(None)
        assert mean.work.starts == starts + 1
        assert mean.work._seen is None
        await mean.work.ask(Prepare(mean.state), Prepared, SECONDS)
        assert mean.work.starts == starts + 1

    with_worker(mean, train)


def test_what_is_at_work_on_a_dataset_that_is_withdrawn_ends_at_once_and_what_waits_is_refused(tmp_path: Path) -> None:
    """With a sandbox or without."""
    path, began = tmp_path / "data.txt", tmp_path / "began"
    path.write_text("1\n")
    source = mean_task(tmp_path)
    text = source.read_text().replace("return Contribution(", "open(PATH, 'w'); time.sleep(600); return Contribution(")
    source.write_text(f"import time\nPATH = {str(began)!r}\n{text}")
    made = place(tmp_path, source)
    made.work._sandbox = None

    async def train() -> None:
        await made.begin(path)
        first = asyncio.ensure_future(made.train(path))
        while not began.exists():
            await asyncio.sleep(0.01)
        second = asyncio.ensure_future(made.train(path))
        await asyncio.sleep(0)
        made.work.withdraw(None)
        for asked in (first, second):
            with pytest.raises(TaskError, match="may not be used any more"):
                await asyncio.wait_for(asked, 30)

    with_worker(made, train)


def test_the_worker_is_lent_what_a_question_is_about_and_nothing_else(mean: Place, tmp_path: Path) -> None:
    other = mean.store.put(b"of another task")
    (tmp_path / "data.txt").write_text("1\n")

    async def ask() -> None:
        await mean.begin()
        await mean.train(tmp_path / "data.txt")
        (folder,) = (mean.store.root / "lent").iterdir()
        assert [link.name for link in folder.iterdir()] == [mean.state.hex()]
        with pytest.raises(StoreError, match="no blob"):
            await mean.work.ask(Advance(blob_hash(b"lost"), (other,), (1,), 0, bytes(32)), Prepared, SECONDS)

    with_worker(mean, ask)
    assert list((mean.store.root / "lent").iterdir()) == []


def test_what_a_killed_peer_had_lent_is_taken_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    name = store.put(b"a blob")
    lent = store.lend()
    lent.show([name, blob_hash(b"another")])
    assert [path.read_bytes() for path in lent.folder.iterdir()] == [b"a blob"]
    assert list(store.verify_all()) == []
    store.reclaim()
    assert not lent.folder.exists()
    assert store.get(name) == b"a blob"


def test_where_there_are_no_links_a_copy_is_lent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    store = Store(tmp_path)
    lent = store.lend()
    lent.show([store.put(b"a blob")])
    assert [path.read_bytes() for path in lent.folder.iterdir()] == [b"a blob"]
    lent.close()


def test_a_blob_that_went_bad_on_disk_is_moved_aside_and_can_be_fetched_again(mean: Place) -> None:
    async def ask() -> None:
        await mean.begin()
        good, path = mean.store.get(mean.state), mean.store.path(mean.state)
        path.write_bytes(b"bad")
        await mean.work.rest()
        with pytest.raises(IntegrityError, match="went bad"):
            await mean.work.ask(Prepare(mean.state), Prepared, SECONDS)
        assert not mean.store.has(mean.state)
        mean.store.put(good)
        await mean.work.ask(Prepare(mean.state), Prepared, SECONDS)

    with_worker(mean, ask)


def test_a_full_store_refuses_what_is_made_and_the_worker_stays_in_step(mean: Place, tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("1\n")

    async def ask() -> None:
        await mean.begin(tmp_path / "data.txt")
        mean.store.budget = mean.store.total()
        with pytest.raises(StoreError, match="budget"):
            await mean.train(tmp_path / "data.txt")
        mean.store.budget = None
        await mean.train(tmp_path / "data.txt")
        assert mean.work.starts == 1

    with_worker(mean, ask)


@pytest.mark.parametrize("library", ["torch", "sklearn.linear_model"])
def test_numerical_libraries_work_inside(sandboxed: None, tmp_path: Path, library: str) -> None:
    pytest.importorskip(library)
    use = {
        "torch": "import torch\nassert (torch.ones(300, 300) @ torch.ones(300, 300)).sum() == 300.0 ** 3",
        "sklearn.linear_model": "from sklearn.linear_model import LogisticRegression\n"
        "LogisticRegression().fit([[0.0], [1.0]], [0, 1])",
    }[library]
    made = place(tmp_path, mean_task(tmp_path, before=use), memory=16 << 30)
    assert with_worker(made, made.work.load).name == "mean"


# ---- machines without --------------------------------------------------------------------------------------------


def with_an_override() -> None:
    os.environ[VARIABLE] = "none"


def with_what_is_configured() -> None:
    os.environ.pop(VARIABLE, None)


def test_without_bubblewrap_a_peer_refuses_the_code_of_others_says_how_to_mend_it_and_stays_up(tmp_path: Path) -> None:
    """One peer has none, one has one that may not make namespaces, one runs without by its administrator's will."""
    empty, broken = tmp_path / "empty", tmp_path / "broken"
    for folder in (empty, broken):
        folder.mkdir()
    (broken / "bwrap").write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    (broken / "bwrap").chmod(stat.S_IRWXU)
    data = rig.tiny_data(tmp_path, NAMES)
    with rig.moot(tmp_path / "moot", NAMES, start=False) as moot:
        moot.start("anna", before=with_a_sandbox, arguments=[str(empty)])
        moot.start("bert", before=with_a_sandbox, arguments=[str(broken)])
        moot.start("carl", before=with_an_override)
        moot.local.offer(rig.tiny_task(tmp_path / "task.py"), data)
        said = moot.said("anna", "the code of tasks does not run without a sandbox")
        assert "bubblewrap (bwrap) is not installed here. Install bubblewrap (apt install bubblewrap" in said
        assert all(way in said for way in ("--no-sandbox", '"sandbox": "none" in config.json', VARIABLE))
        assert "it says: bwrap: No permissions to create new namespace" in moot.said("bert", "cannot make one here")
        moot.ready(1, "carl")
        assert {name: moot.peer_status(name).sandbox for name in NAMES} == {
            "anna": "bubblewrap",
            "bert": "bubblewrap",
            "carl": "none",
        }
        (override,) = overrides(moot.homes["carl"])
        assert (override.what, override.how) == ("sandbox", f"--no-sandbox or {VARIABLE}")
        assert [record["how"] for record in moot.log("carl") if record["event"] == "override"] == [override.how]
        assert overrides(moot.homes["anna"]) == []
        moot.check()


def test_an_override_in_the_configuration_is_recorded_at_each_start_and_kept(tmp_path: Path) -> None:
    with rig.moot(tmp_path / "moot", NAMES[:1], start=False) as moot:
        home = moot.homes["anna"]
        home.write_config(msgspec.structs.replace(home.config, sandbox="none"))
        for starts in (1, 2):
            moot.start("anna", before=with_what_is_configured)
            moot.until("it runs", lambda: moot.peer_status("anna").state == "idle")
            assert [override[1:] for override in overrides(home)] == [("sandbox", "config.json")] * starts
            moot.terminate("anna")


def test_an_unknown_sandbox_in_the_environment_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "off")
    with pytest.raises(LocalError, match="FOLKMOOT_SANDBOX is 'off'; it may be bubblewrap or none"):
        choose(Config(name="anna", ledger="/x", contract="0x00"))
