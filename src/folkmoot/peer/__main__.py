"""A peer that another program started: ``python -m folkmoot.peer HOME``. People start theirs with ``folkmoot run``.

It reads its standard input to the end and leaves then, so a program that gives it a pipe takes it along however it
ends, by SIGKILL too. And it does without the command line's libraries: parsing one option costs them 0.15 s of CPU.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from folkmoot.errors import FolkmootError
from folkmoot.peer.daemon import run
from folkmoot.peer.home import Home

_PATIENCE = 5.0
"""Seconds that a peer whose parent is gone has for leaving cleanly."""


def _leave_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_PATIENCE)
    os._exit(1)


def main() -> None:
    """Run the peer of the home that is named; exit with 1 and a line on standard error where it cannot."""
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    try:
        run(Home.open(Path(sys.argv[1])))
    except FolkmootError as error:
        raise SystemExit(f"folkmoot: {error}") from None


if __name__ == "__main__":
    main()
