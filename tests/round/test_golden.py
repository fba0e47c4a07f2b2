"""Formats that must not move: a moved byte would make every recorded history unverifiable.

``golden/formats.json`` was made by ``python tests/round/test_golden.py``; make it anew only with a new format version.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from folkmoot.digest import blob_hash
from folkmoot.round import fixed
from folkmoot.round.commitment import commit_hash, contribution_root, encode_hashes, encode_inputs
from folkmoot.round.events import Reveal
from folkmoot.round.plan import make_plan
from folkmoot.task.policy import Policy
from folkmoot.task.protocol import Contribution

GOLDEN = Path(__file__).with_name("golden") / "formats.json"
SCHEMA = {"b": (3,), "w": (4, 5)}


def formats() -> dict[str, object]:
    """Everything that members must compute alike, from inputs that need no random numbers."""
    made: dict[str, object] = {}
    for width in (8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64):
        half = 1 << (width - 1)
        words = [0, 1, -1, half - 1, -half, 5, -(half // 3)]
        made[f"pack {width}"] = fixed.pack(np.array(words, dtype=np.int64), width).hex()
    arrays = {"b": np.array([0.5, -1.25, 3.0]), "w": np.arange(-10, 10).reshape(4, 5) / 8}
    for bits, exponents in ((16, {}), (16, {"b": -4, "w": -6}), (8, {"b": 0, "w": -1}), (48, {"b": -20, "w": -20})):
        layout = fixed.make_layout(SCHEMA, exponents, {"auc": 2}, bits)
        words = fixed.quantise(Contribution(arrays, 100), {"auc": np.array([7, -8])}, layout)
        shards = fixed.encode_shards(*words, layout, 3)
        sums = [
            fixed.encode_sum(3 * fixed.decode_shard(data, s, layout, 3)[None], s, layout, 3, [3])
            for s, data in enumerate(shards)
        ]
        totals = [fixed.decode_sum(data, s, layout, 3, [3]) for s, data in enumerate(sums)]
        values, side = fixed.split_side(totals, layout, 3)
        mean = fixed.aggregate(values[0], side[0], layout, 3)
        made[f"contribution {bits} {sorted(exponents.values())}"] = {
            "shards": [blob_hash(data).hex() for data in shards],
            "sums": [blob_hash(data).hex() for data in sums],
            "mean": {name: array.tobytes().hex() for name, array in mean.arrays.items()},
            "exponents": fixed.next_exponents(side[0], layout, 3),
        }
    parent = bytes(range(32))
    for members, attempt in ((8, 0), (9, 0), (9, 1), (9, 2), (12, 0)):
        dealt = make_plan(range(members), parent, attempt, Policy())
        made[f"plan {members} {attempt}"] = [list(holders) for holders in dealt.holders]
    hashes = (bytes([1]) * 32, bytes([2]) * 32)
    root = contribution_root(hashes)
    made["contribution root"] = root.hex()
    made["commit"] = commit_hash(bytes([3]) * 32, bytes([4]) * 20, 5, 6, 7, root).hex()
    made["inputs"] = encode_inputs({3: Reveal(bytes([5]) * 32, hashes), 200: Reveal(bytes([6]) * 32, hashes)}).hex()
    made["aggregate"] = encode_hashes(hashes).hex()
    return made


def test_formats_have_not_moved() -> None:
    golden = json.loads(GOLDEN.read_text())
    made = formats()
    assert golden.keys() == made.keys()
    for name, value in golden.items():
        assert made[name] == value, f"{name} moved"


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(formats(), indent=1) + "\n")
