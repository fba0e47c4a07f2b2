"""Scores that must not move: a moved unit would make every recorded payment unverifiable.

``golden/scores.json`` was made by ``python tests/reward/test_golden_scores.py``; make it anew only with a new format.
"""

from __future__ import annotations

import json
from pathlib import Path

from golden_scores import formats

GOLDEN = Path(__file__).with_name("golden") / "scores.json"


def test_scores_and_shares_have_not_moved() -> None:
    golden = json.loads(GOLDEN.read_text())
    made = formats()
    assert golden.keys() == made.keys()
    for name, value in golden.items():
        assert made[name] == value, f"{name} moved"


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(formats(), indent=1) + "\n")
