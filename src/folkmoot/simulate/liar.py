"""A peer that lies: ``python -m folkmoot.simulate.liar HOME --attack NAME``.

The ordinary peer (``python -m folkmoot.peer HOME``) in all but its worker: it keeps to the protocol, signs what it
should and is on time. Only what it says it has learned is false, and nothing in one contribution proves that.
"""

from __future__ import annotations

import argparse
import sys

from folkmoot.peer import __main__ as ordinary
from folkmoot.peer.workplace import Workplace
from folkmoot.simulate.lying_worker import LONE

__all__ = ["main"]


def main() -> None:
    """Run the peer of the home that is named, with a worker that lies."""
    parser = argparse.ArgumentParser("python -m folkmoot.simulate.liar", description="Run a peer that lies.")
    parser.add_argument("home", metavar="HOME", help="the peer's folder")
    parser.add_argument("--attack", required=True, choices=LONE, help="what it does")
    chosen = parser.parse_args()
    Workplace.worker = ("folkmoot.simulate.lying_worker", chosen.attack)
    sys.argv[1:] = [chosen.home]
    ordinary.main()


if __name__ == "__main__":
    main()
