"""Moots of real peer processes for the tests: started, killed, watched by polling the ledger with a generous bound."""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.process
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

import folkmoot
from folkmoot.digest import Hash
from folkmoot.ledger import Moot, Phase, RoundView
from folkmoot.ledger.motions import Kind, Motion
from folkmoot.ledger.records import Final
from folkmoot.peer import governing
from folkmoot.peer.daemon import run
from folkmoot.peer.home import Home
from folkmoot.peer.local import LocalMoot
from folkmoot.peer.sandbox import VARIABLE, trouble
from folkmoot.peer.status import PeerStatus, TaskStatus, read_status
from folkmoot.peer.verify import VerifyReport, verify

PATIENCE = 120.0
"""Seconds until a test gives up on what it waits for: many times what an idle machine needs."""
TINY = Path(__file__).with_name("tiny_task.py")
T = TypeVar("T")

# The tests' tasks are our own: where no sandbox can be made for them, they run without.
if VARIABLE not in os.environ and trouble() is not None:
    os.environ[VARIABLE] = "none"

# Peers are forked off a process that has imported everything once: each is a process of its own all the same, and ten
# of them start in the time that one import takes.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["folkmoot.peer.daemon", "folkmoot.peer.worker", "rig"])


def peer_process(path: str, before: Callable[..., None] | None = None, *arguments: Any) -> None:
    """What a peer's process runs; ``before(*arguments)`` first."""
    os.setsid()
    parent = multiprocessing.process.parent_process()
    assert parent is not None
    threading.Thread(target=_leave_with, args=(parent.sentinel,), daemon=True).start()
    home = Home.open(Path(path))
    output = os.open(home.path / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    if before is not None:
        before(*arguments)
    run(home)


def _leave_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os.kill(os.getpid(), signal.SIGKILL)


def until(what: str, look: Callable[[], T | None], *, patience: float = PATIENCE, pause: float = 0.02) -> T:
    """The first thing that ``look`` gives which is neither ``None`` nor false."""
    deadline = time.monotonic() + patience
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience:.0f} s in vain until {what}")
        time.sleep(pause)
    return found


def side_by_side(calls: Sequence[Callable[[], None]]) -> None:
    """Make these calls at the same time: what waits for deadlines most of the time need not wait in turn."""
    with ThreadPoolExecutor(len(calls)) as threads:
        for done in [threads.submit(call) for call in calls]:
            done.result()


@dataclass
class Rig:
    """A moot on one machine and the processes of its peers, by member's name."""

    local: LocalMoot
    processes: dict[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return list(self.local.homes)

    @property
    def homes(self) -> Mapping[str, Home]:
        return self.local.homes

    @property
    def ledger_file(self) -> Path:
        return self.local.folder / "ledger.sqlite"

    # ---- processes -------------------------------------------------------------------------------------------

    def start(self, *names: str, before: Callable[..., None] | None = None, arguments: Sequence[Any] = ()) -> None:
        """Start these peers (all, if none is named)."""
        for name in names or self.names:
            target = (str(self.homes[name].path), before, *arguments)
            process = FORKS.Process(target=peer_process, args=target, name=name)
            process.start()
            self.processes[name] = process

    def kill(self, name: str) -> int:
        """SIGKILL; its process id."""
        process = self.processes.pop(name)
        pid = process.pid
        process.kill()
        process.join()
        return pid

    def terminate(self, name: str) -> int | None:
        """SIGTERM; its exit code."""
        process = self.processes.pop(name)
        process.terminate()
        process.join(PATIENCE)
        return process.exitcode

    def check(self) -> None:
        """Every peer that was started and not ended must be alive."""
        for name, process in self.processes.items():
            assert process.is_alive(), f"the peer {name} ended with {process.exitcode}: {self.output(name)[-2000:]}"

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        deadline = time.monotonic() + 20
        for process in self.processes.values():
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        self.processes.clear()

    # ---- the ledger ------------------------------------------------------------------------------------------

    def client(self, name: str | None = None) -> Moot:
        """The ledger as a member sees it; kept open."""
        name = name or self.names[0]
        clients = self.__dict__.setdefault("_clients", {})
        if name not in clients:
            clients[name] = self.homes[name].moot()
        client: Moot = clients[name]
        return client

    def view(self, task: int) -> RoundView:
        return self.client().round_view(task)

    def finals(self, task: int) -> list[Final]:
        """The final rounds that train."""
        return self.client().finals(task)[: self.client().task(task).training]

    def until(self, what: str, look: Callable[[], T | None], *, patience: float = PATIENCE) -> T:
        """As the function, while all peers live; says what the peers say when it is in vain."""

        def checked() -> T | None:
            self.check()
            return look()

        try:
            return until(what, checked, patience=patience)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.report()}") from None

    def reach(self, task: int, round: int) -> None:
        """Wait until ``round`` is being made."""
        self.until(f"round {round} of task {task} opens", lambda: self.view(task).round >= round)

    def finish(self, task: int, *, patience: float = PATIENCE) -> Hash:
        """Wait until the task is done; its model's hash."""
        self.until(f"task {task} is done", lambda: self.view(task).phase is Phase.DONE, patience=patience)
        return self.view(task).parent

    def ready(self, task: int, *names: str) -> None:
        """Wait until these peers (all that run, if none is named) have loaded the task."""
        for name in names or self.processes:
            self.until(f"{name} has loaded task {task}", lambda name=name: self.status(name, task).name)

    def filled(self, task: int, *names: str) -> None:
        """Wait until these peers have all blobs behind the task's rounds."""
        finals = self.client().finals(task)
        for name in names or self.processes:
            missing = self.missing_blobs(name, finals)
            self.until(f"{name} has all blobs of task {task}", lambda missing=missing: not any(missing()))

    def missing_blobs(self, name: str, finals: Sequence[Final]) -> Callable[[], Iterator[Hash]]:
        from folkmoot.round.commitment import decode_hashes, reveals_in

        store = self.homes[name].store()

        def look() -> Iterator[Hash]:
            for final in finals:
                yield from (blob for blob in (final.model, final.inputs, final.aggregate) if not store.has(blob))
                if store.has(final.inputs) and store.has(final.aggregate):
                    reveals = reveals_in(store.get(final.inputs)).values()
                    if len(decode_hashes(store.get(final.aggregate))) == 1:
                        yield from (blob for r in reveals for blob in r.shards if not store.has(blob))

        return look

    # ---- people ----------------------------------------------------------------------------------------------

    def peer_status(self, name: str) -> PeerStatus:
        """What the running process says of itself; an empty status before it has said anything."""
        status, process = read_status(self.homes[name]), self.processes.get(name)
        current = status is not None and process is not None and status.pid == process.pid
        return status if status is not None and current else PeerStatus(name=name, pid=0)

    def status(self, name: str, task: int) -> TaskStatus:
        """What it says of a task; an empty status before it has said anything."""
        tasks = self.peer_status(name).tasks
        return next((status for status in tasks if status.task == task), TaskStatus(task=task))

    def said(self, name: str, words: str) -> str:
        """Wait until the peer's status says these words; the sentence that has them."""

        def look() -> str | None:
            status = self.peer_status(name)
            sentences = [*(error.text for error in status.errors), *(task.reason for task in status.tasks)]
            return next((sentence for sentence in sentences if words in sentence), None)

        return self.until(f"the status of {name} says {words!r}", look)

    def log(self, name: str) -> list[dict[str, Any]]:
        """The records of a peer's log."""
        lines = self.homes[name].log_file.read_bytes().splitlines()
        return [msgspec.json.decode(line) for line in lines]

    def output(self, name: str) -> str:
        path = self.homes[name].path / "output.txt"
        return path.read_text(errors="replace") if path.exists() else ""

    def report(self) -> str:
        """What everyone says, for a failing test."""
        lines = []
        for task in self.client().tasks():
            lines.append(str(self.view(task.id)))
        for name in self.names:
            status = read_status(self.homes[name])
            lines.append(f"{name}: {status}")
            if self.homes[name].log_file.exists():
                lines += [f"    {line}" for line in self.homes[name].log_file.read_text().splitlines()[-25:]]
            lines.append(f"    output: {self.output(name)[-1500:]}")
        return "\n".join(lines)

    # ---- tasks -----------------------------------------------------------------------------------------------

    def offer(self, source: Path, data: Mapping[str, Path], *, grant: bool = True) -> int:
        """Propose the task, wait until all peers have loaded it, and let the members with data grant it."""
        task = self.local.offer(source, data)
        self.ready(task)
        if grant:
            self.grant(task, *data)
        return task

    def grant(self, task: int, *names: str) -> None:
        """The last dataset that each described serves the task."""
        for name in names:
            self.client(name).grant(task, max(self.homes[name].data()))

    def verify(self, *names: str) -> VerifyReport:
        """Replay the history with these peers' blobs."""
        return verify(self.ledger_file, None, [self.homes[name].blobs for name in names])


def decide(moot: Rig, *voters: str, kind: Kind, words: tuple[int, ...]) -> Motion:
    """The first of them moves it, the others vote."""
    first, *others = voters
    motion = governing.move(moot.client(first), kind, *words)
    for name in others:
        motion = governing.vote(moot.client(name), motion.id)
    assert motion.done
    return motion


@contextlib.contextmanager
def moot(folder: Path, names: Sequence[str], *, seed: int = 0, start: bool = True) -> Iterator[Rig]:
    """A moot of these members, its peers running; none is left afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    rig = Rig(LocalMoot.found(folder, names, name="test", seed=seed))
    try:
        if start:
            rig.start()
        yield rig
    finally:
        rig.stop()


def tiny_task(path: Path, *, size: int = 4, pause: float = 0.0, name: str = "tiny", **policy: Any) -> Path:
    """Write the tests' own task to ``path``: ``size`` numbers move to the mean of everyone's data."""
    terms = {"train_seconds": 2, "exchange_seconds": 2, "final_seconds": 2, "min_members": 3, **policy}
    given = f"SIZE, PAUSE, NAME, TERMS = {size!r}, {pause!r}, {name!r}, {terms!r}\n"
    path.write_text(TINY.read_text().replace('SIZE, PAUSE, NAME, TERMS = 4, 0.0, "tiny", {}\n', given))
    return path


def tiny_data(folder: Path, names: Sequence[str], **wrong: str) -> dict[str, Path]:
    """A data file for each member; ``wrong`` says which member's file makes the task do what."""
    made = {}
    for at, name in enumerate(names):
        made[name] = folder / f"{name}.txt"
        numbers = "".join(f"{(at + 1) * step}\n" for step in range(1, 6))
        made[name].write_text(wrong.get(name, "") + numbers)
    return made


def heart_task(path: Path, *, rounds: int = 4) -> Path:
    """Write the heart task to ``path``, with other numbers."""
    text = (Path(folkmoot.__file__).parent / "data" / "tasks" / "heart.py").read_text()
    for old, new in (("rounds=20", f"rounds={rounds}"), ("_seconds=4", "_seconds=10")):
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


def children(pid: int) -> set[int]:
    """The processes that a process has started and that are still there."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(parent) == pid and state != "Z":
                    found.add(int(entry.name))
    return found


def alive(pid: int) -> bool:
    """Whether there is such a process that is not just waiting to be buried."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
