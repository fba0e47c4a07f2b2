"""The table of prices is made by a benchmark, which lies beside the tests."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))
