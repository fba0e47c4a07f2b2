"""What stands between a peer and the host of its chain may be the peer's own state: the host is not blamed for it."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator

import pytest
import rig
from hosted_moot import HostedRig, hosted

from folkmoot.peer.status import Complaint

NAMES = ["anna", "bert", "carl"]


@pytest.fixture(scope="module")
def moot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostedRig]:
    with hosted(tmp_path_factory.mktemp("moot"), NAMES) as made:
        made.settled()
        yield made


def errors(moot: HostedRig, name: str, *kinds: str) -> list[Complaint]:
    return [error for error in moot.peer_status(name).errors if error.kind in kinds]


def pid(moot: HostedRig, name: str) -> int:
    found = moot.processes[name].pid
    assert isinstance(found, int)
    return found


def test_a_peer_whose_disk_is_full_says_that_and_does_not_accuse_the_host(moot: HostedRig) -> None:
    before = resource.prlimit(pid(moot, "bert"), resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    for _ in range(3):
        moot.client("carl").describe(bytes(32), 1)
    # neither its status nor its log can be written meanwhile: what it has to say shows when there is space again
    resource.prlimit(pid(moot, "bert"), resource.RLIMIT_FSIZE, before)
    moot.caught_up("bert", "carl")
    moot.until("bert has nothing to say any more", lambda: not errors(moot, "bert", "disk", "host"))
    assert not [record for record in moot.log("bert") if record["event"] == "error" and record["kind"] == "host"]


def test_a_host_that_did_not_answer_and_does_again_is_blamed_no_more(moot: HostedRig) -> None:
    os.kill(pid(moot, "anna"), signal.SIGSTOP)
    try:
        moot.until("bert says that the host does not answer", lambda: errors(moot, "bert", "host"))
    finally:
        os.kill(pid(moot, "anna"), signal.SIGCONT)
    moot.until("bert says so no more", lambda: not errors(moot, "bert", "host"))


def test_a_peer_that_was_suspended_does_not_accuse_the_host(moot: HostedRig) -> None:
    before = len(moot.log("bert"))
    os.kill(pid(moot, "bert"), signal.SIGSTOP)
    moot.client("carl").describe(bytes(32), 1)
    rig.until("the others hear nothing of bert", lambda: moot.peer_status("bert").stale)
    os.kill(pid(moot, "bert"), signal.SIGCONT)
    moot.caught_up("bert", "carl")
    later = moot.log("bert")[before:]
    assert not [record for record in later if record["event"] == "error" and record["kind"] == "host"]
