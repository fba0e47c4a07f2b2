"""A process that was stopped while it held the ledger file does not silence the peers beside it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import rig

from folkmoot.peer import context

NAMES = ["anna", "bert", "carl"]
STOPS = """
import os, signal, sys
from pathlib import Path
from folkmoot.ledger.chainfile import ChainFile
from folkmoot.peer.home import Home

append = ChainFile.append
def stops(file, *block):
    os.kill(os.getpid(), signal.SIGSTOP)
    append(file, *block)
ChainFile.append = stops
Home.open(Path(sys.argv[1])).moot().describe(bytes(32), 1)
"""


def impatient() -> None:
    context.BUSY_SECONDS = 0.3


def test_peers_name_who_holds_the_ledger_go_on_answering_and_write_once_it_is_free(tmp_path: Path) -> None:
    with rig.moot(tmp_path / "moot", NAMES, start=False) as moot:
        moot.start("anna")
        moot.until("anna is up", lambda: moot.client("anna").members()[0].addresses)
        command = subprocess.Popen([sys.executable, "-c", STOPS, str(moot.homes["carl"].path)])
        try:
            assert os.WIFSTOPPED(os.waitpid(command.pid, os.WUNTRACED)[1])
            moot.start("bert", before=impatient)
            said = moot.said("bert", "nothing was appended")
            if Path("/proc/locks").exists():
                assert f"held by process {command.pid} (" in said
                assert "which is stopped" in said
            written = moot.peer_status("bert").time
            moot.until("bert's status goes on", lambda: moot.peer_status("bert").time > written)
            assert not moot.client("anna").members()[1].addresses
            os.kill(command.pid, signal.SIGCONT)
            assert command.wait(rig.PATIENCE) == 0
        finally:
            command.kill()
            command.wait()
        moot.until("bert has said where it is", lambda: moot.client("anna").members()[1].addresses)
