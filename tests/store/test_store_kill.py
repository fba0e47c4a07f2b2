"""A process killed with SIGKILL in the middle of its writing leaves a store in which everything is whole."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from folkmoot.digest import CHUNK, blob_hash
from folkmoot.store import Manifest, Store

PUTTING = """
import os, sys
from pathlib import Path
from folkmoot.store import Store
store = Store(Path(sys.argv[1]))
while True:
    name = store.put(os.urandom(600_000))
    print(name.hex(), flush=True)
"""

FETCHING = """
import sys
from pathlib import Path
from folkmoot.digest import CHUNK, blob_hash
from folkmoot.store import Manifest, Store
store = Store(Path(sys.argv[1]))
data = Path(sys.argv[2]).read_bytes()
partial = store.begin(blob_hash(data), Manifest.of(data))
for index in partial.missing():
    partial.write(index, data[index * CHUNK : (index + 1) * CHUNK])
    print(index, flush=True)
partial.finish()
"""


def killed_after(program: str, lines: int, *arguments: Path) -> list[str]:
    """What the program said before it was killed, some time after its line number ``lines``."""
    running = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    said = [running.stdout.readline().strip() for _ in range(lines)]
    running.kill()
    rest = running.stdout.read()
    running.wait()
    running.stdout.close()
    # A last line without its end was cut off by the kill.
    return [*said, *rest.split("\n")[:-1]]


@pytest.mark.parametrize("lines", [1, 4, 7])
def test_what_was_acknowledged_before_the_kill_is_there_and_all_that_is_there_is_whole(
    tmp_path: Path, lines: int
) -> None:
    acknowledged = killed_after(PUTTING, lines, tmp_path)
    store = Store(tmp_path)
    assert not list(store.verify_all())
    for name in acknowledged:
        assert len(store.get(bytes.fromhex(name))) == 600_000


def test_a_fetch_that_is_killed_again_and_again_still_ends_with_the_blob(tmp_path: Path) -> None:
    data = os.urandom(12 * CHUNK + 5)
    source = tmp_path / "data"
    source.write_bytes(data)
    where = tmp_path / "store"
    done: set[int] = set()
    for _ in range(4):
        done.update(int(line) for line in killed_after(FETCHING, 2, where, source) if line)
    store = Store(where)
    if not store.has(blob_hash(data)):
        with store.begin(blob_hash(data), Manifest.of(data)) as partial:
            assert done.isdisjoint(partial.missing())
            for index in partial.missing():
                partial.write(index, data[index * CHUNK : (index + 1) * CHUNK])
            partial.finish()
    assert store.get(blob_hash(data)) == data
    assert not list(store.verify_all())
