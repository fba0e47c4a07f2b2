"""Attacks use what the tests of the rounds and of the peers are made with: virtual moots, and moots of processes."""

import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent
sys.path += [str(TESTS / room) for room in ("round", "peer")]
