"""The demo's course: found the moot, start the peers, kill one half-way, bring it back, see the last round."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from folkmoot.cli.demo_peers import Peers
from folkmoot.cli.demo_settings import ATTACKS, Settings
from folkmoot.cli.demo_task import data_files, pause, task_text
from folkmoot.cli.demo_view import Scene, View
from folkmoot.errors import LocalError
from folkmoot.peer.local import LocalMoot

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["run_course"]

_LOOK_SECONDS = 0.1
_DEAD_SECONDS = 2.0
"""The killed one stays dead for so long, and until a round is final without it."""
_LONGEST_DEATH_SECONDS = 20.0
"""When the others cannot go on without it (too few are left), it is started again all the same."""
_STALL_SECONDS = 120.0
"""Without any progress for so long, the demo gives up and says what the peers say."""


def run_course(settings: Settings, folder: Path, console: Console, began: float) -> tuple[LocalMoot, int]:
    """Run the whole demo in ``folder``; the moot and its task. Every peer has left when this returns or raises.

    Raises ``LocalError`` when a peer ends by itself or nothing moves for two minutes.
    """
    _say(console, f"founding a moot of {settings.peers} members in {folder} ...")
    moot = LocalMoot.found(folder, settings.names, name="heart", seed=settings.seed)
    view = View(console, began)
    liars = {settings.liar: settings.attack.value} if settings.liar and settings.attack else {}
    if settings.attack:
        _say(
            console,
            f"each hospital's patients are dealt to clinics; {settings.liar} lies: it {ATTACKS[settings.attack]}",
        )
    with Peers(moot.homes, liars) as peers:
        if peers.no_sandbox is not None:
            _say(console, f"the demo's own task runs without a sandbox: {peers.no_sandbox}")
        for name in moot.homes:
            peers.start(name)
        with view.showing():
            task = _Course(settings, moot, peers, view).run()
    return moot, task


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


class _Death(NamedTuple):
    at: float
    after: int
    """The last round that was final then."""


class _Course:
    """What has happened so far, and what is due."""

    def __init__(self, settings: Settings, moot: LocalMoot, peers: Peers, view: View) -> None:
        self._settings = settings
        self._moot = moot
        self._peers = peers
        self._view = view
        self._scene = Scene(settings.all_rounds, dict.fromkeys(moot.homes), liar=settings.liar)
        self._half = settings.half
        self._victim = settings.victim
        self._ledger = moot.homes[settings.names[-1]].moot()
        self._killed: _Death | None = None
        self._revived_after: int | None = None
        self._returned: int | None = None
        self._asked_at = 0
        self._moved_at, self._last_move = time.monotonic(), ""

    def run(self) -> int:
        """From the start of the peers to the last round; the task's id."""
        self._task = self._offer(self._seconds_to_start())
        self._wait_until_all_are_ready()
        self._moot.grant(self._task, self._settings.learners)
        self._wait_until_done()
        return self._task

    def _seconds_to_start(self) -> float:
        """Wait for the first peer to run; how long that took, starting all at once."""
        began = time.monotonic()
        while not any(status and status.state != "starting" for status in self._scene.statuses.values()):
            self._look()
        return time.monotonic() - began

    def _offer(self, start_seconds: float) -> int:
        """Describe the members' data and propose the task; its id. All that is missing then are the grants."""
        source = self._moot.folder / "task.py"
        source.write_text(task_text(self._settings, pause(self._settings, start_seconds)))
        return self._moot.offer(source, data_files(self._settings, self._moot.folder / "clinics"))

    def _wait_until_all_are_ready(self) -> None:
        """Until every peer has loaded the task: then none keeps the first round waiting."""
        while not all((task := self._scene.task(name)) and task.name for name in self._moot.homes):
            self._look()

    def _wait_until_done(self) -> None:
        """Until all peers have seen the last round, the killed one among them."""
        while not self._all_done():
            self._look()
            self._strike()
            self._revive()
            self._notice_return()
        if self._victim is not None and self._returned is None:
            self._note(f"{self._victim} came back after the last contributions, and has the model all the same")
        self._view.show(self._scene)

    def _all_done(self) -> bool:
        tasks = [self._scene.task(name) for name in self._moot.homes]
        return self._scene.dead is None and all(task is not None and task.phase == "done" for task in tasks)

    def _look(self) -> None:
        time.sleep(_LOOK_SECONDS)
        self._peers.check()
        for name in self._moot.homes:
            status = self._peers.status(name)
            # Nothing new yet from one that was just started: what is known of it stays on the screen.
            if status is not None:
                self._scene.statuses[name] = status
        self._view.show(self._scene)
        self._watch_for_stall()

    def _strike(self) -> None:
        """Half-way, kill the victim."""
        if self._victim is None or self._killed is not None or self._scene.final < self._half:
            return
        self._killed = _Death(time.monotonic(), self._scene.final)
        pid = self._peers.kill(self._victim)
        self._scene.dead = self._victim
        self._note(f"{self._victim} (process {pid}) is killed with SIGKILL")

    def _revive(self) -> None:
        """Start the victim again when the others have gone on without it."""
        if self._killed is None or self._scene.dead is None:
            return
        dead_for = time.monotonic() - self._killed.at
        gone_on = self._scene.final > self._killed.after or dead_for > _LONGEST_DEATH_SECONDS
        if dead_for > _DEAD_SECONDS and gone_on:
            victim, self._scene.dead = self._scene.dead, None
            self._peers.start(victim)
            self._revived_after = self._scene.final
            self._note(f"{victim} is started again, with its disk, the ledger and the others to learn from")

    def _notice_return(self) -> None:
        """Say in which round the victim's contribution counts again, by the ledger."""
        if self._victim is None or self._revived_after is None or self._returned is not None:
            return
        if self._scene.final <= self._asked_at:
            return
        self._asked_at = self._scene.final
        member = list(self._moot.homes).index(self._victim)
        for final in self._ledger.finals(self._task, self._revived_after + 1):
            if final.survivors >> member & 1 and final.round <= self._scene.rounds:
                self._returned = final.round
                self._note(f"{self._victim} is back: its contribution counts in round {final.round}")
                return

    def _note(self, what: str) -> None:
        self._scene.notes.append(f"after round {self._scene.final}: {what}")

    def _watch_for_stall(self) -> None:
        move = str([(task.round, task.attempt, task.phase) for n in self._moot.homes if (task := self._scene.task(n))])
        if move != self._last_move:
            self._moved_at, self._last_move = time.monotonic(), move
        elif time.monotonic() - self._moved_at > _STALL_SECONDS:
            said = [f"{name}: {self._complaint(name)}" for name in self._moot.homes]
            raise LocalError(f"nothing has moved for {_STALL_SECONDS:.0f} s; {'; '.join(said)}")

    def _complaint(self, name: str) -> str:
        status = self._scene.statuses[name]
        return status.errors[-1].text if status and status.errors else self._peers.last_words(name)
