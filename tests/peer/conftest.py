"""Peers on a real chain use the node of the ledger's tests."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "ledger"))
