"""Scripts wait for a task, and its exit code says how it went."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import handmade
import pytest
from command_line import Folkmoot

from folkmoot.ledger.motions import Kind
from folkmoot.ledger.records import Standing
from folkmoot.peer import governing
from folkmoot.peer.local import LocalMoot
from folkmoot.peer.status import PeerStatus, TaskStatus, write_status

DONE, ERROR, FAILED, TIMED_OUT = 0, 1, 3, 4


@pytest.fixture
def made(tmp_path: Path) -> handmade.HandMade:
    """Task 1 is adopted and has its grants; no round of its three is final."""
    made = handmade.HandMade(LocalMoot.found(tmp_path, handmade.NAMES, name="m"))
    (tmp_path / "task.py").write_text(handmade.TASK)
    data = {name: handmade.data_file(tmp_path / f"{name}.txt", at) for at, name in enumerate(handmade.NAMES)}
    made.local.grant(made.local.offer(tmp_path / "task.py", data), handmade.NAMES[:3])
    return made


def test_it_waits_for_a_round_and_for_the_task(folkmoot: Folkmoot, made: handmade.HandMade) -> None:
    home = made.homes[1].path
    command = [sys.executable, "-m", "folkmoot", "wait", "1", "--round", "2", "--home", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as waiting:
        made.round(1, (0, 1, 2))
        assert waiting.poll() is None
        made.round(1, (0, 1, 2))
        assert waiting.communicate()[0] == "round 2 of task 1 is final\n"
    assert waiting.returncode == DONE
    assert folkmoot("wait", 1, "--timeout", 0, "--home", home).code == TIMED_OUT
    made.round(1, (0, 1, 2))
    assert folkmoot("wait", 1, "--round", 3, "--timeout", 0, "--home", home).code == DONE
    unmeasured = folkmoot("wait", 1, "--timeout", 0, "--home", home)
    assert (unmeasured.code, "its phase is measuring, its round 3 of 3" in unmeasured.out) == (TIMED_OUT, True)
    made.round(1, (0, 1, 2))
    assert folkmoot("wait", 1, "--timeout", 0, "--home", home).out == "task 1 is done, its model measured\n"


@pytest.mark.parametrize("phase", ["failed", "training"])
def test_the_list_of_tasks_tells_scripts_what_failed_here_as_it_tells_people(
    folkmoot: Folkmoot, made: handmade.HandMade, phase: Literal["failed", "training"]
) -> None:
    home = made.homes[1]
    task = TaskStatus(task=1, name="small", phase=phase)
    write_status(home, PeerStatus(name="bert", pid=os.getpid(), time=time.time(), state="running", tasks=[task]))
    (told,) = json.loads(folkmoot("tasks", "--json", "--home", home.path).out)
    assert told["failed_here"] is (phase == "failed")
    assert ("failed here" in folkmoot("tasks", "--home", home.path).out) is (phase == "failed")


def test_what_cannot_come_any_more_is_a_code_of_its_own(folkmoot: Folkmoot, made: handmade.HandMade) -> None:
    home = made.homes[1].path
    made.round(1, (0, 1, 2))
    late = folkmoot("wait", 1, "--timeout", 0, "--home", home)
    assert (late.code, "its phase is training, its round 2 of 3" in late.out) == (TIMED_OUT, True)
    motion = governing.move(made.moot(0), Kind.STEER, 1, Standing.STOPPED)
    for member in (1, 2):
        governing.vote(made.moot(member), motion.id, aye=True)
    stopped = folkmoot("wait", 1, "--home", home)
    assert (stopped.code, stopped.out) == (FAILED, "the members stopped task 1 after round 1\n")
    assert folkmoot("wait", 1, "--round", 1, "--home", home).code == DONE


def test_a_round_or_task_that_will_never_be_is_an_error(folkmoot: Folkmoot, made: handmade.HandMade) -> None:
    home = made.homes[1].path
    assert folkmoot("wait", 1, "--round", 4, "--home", home).code == ERROR
    assert "the moot has no task 7" in folkmoot("wait", 7, "--home", home).err
