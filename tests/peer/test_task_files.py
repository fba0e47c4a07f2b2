"""Files of a task that are no Python, read by its code in a peer's worker: weights, vocabularies, labels."""

import asyncio
from pathlib import Path

import pytest

from folkmoot.errors import TaskError
from folkmoot.peer.asks import Prepare, Prepared
from folkmoot.peer.sandbox import Sandbox, trouble
from folkmoot.peer.workplace import Workplace
from folkmoot.store import Store
from folkmoot.task import make_bundle, read_state

TASK = """
from pathlib import Path
import folkmoot as fm
from safetensors.numpy import load_file

HERE = Path(__file__).parent


class Start(fm.LogisticTask):
    def init(self):
        return fm.State(load_file({place}))


task = Start(name="start", load=None, features=2, standardise=False)
"""


def task_with_weights(folder: Path, place: str) -> Path:
    import numpy as np
    from safetensors.numpy import save_file

    folder.mkdir()
    save_file({"weights": np.array([1.0, 2.0]), "bias": np.array([3.0])}, folder / "base.safetensors")
    (folder / "task.py").write_text(TASK.format(place=place))
    return folder


def first_state(folder: Path, source: Path, sandbox: Sandbox | None) -> dict[str, list[float]]:
    store = Store(folder / "blobs")
    work = Workplace(store, store.put(make_bundle(source)), folder / "worker.log", 1 << 30, sandbox)

    async def ask() -> bytes:
        try:
            return (await work.ask(Prepare(None), Prepared, 60.0)).state
        finally:
            await work.close()

    arrays = read_state(store.get(asyncio.run(ask()))).arrays
    return {name: array.tolist() for name, array in arrays.items()}


@pytest.fixture(params=["bubblewrap", "none"])
def sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> Sandbox | None:
    if request.param == "none":
        return None
    if (why := trouble()) is not None:
        pytest.skip(why)
    return Sandbox(tmp_path / "home")


def test_a_task_starts_from_weights_that_lie_beside_it(tmp_path: Path, sandbox: Sandbox | None) -> None:
    source = task_with_weights(tmp_path / "task", "HERE / 'base.safetensors'")
    assert first_state(tmp_path, source, sandbox) == {"weights": [1.0, 2.0], "bias": [3.0]}
    assert sorted(place.name for place in (tmp_path / "blobs" / "lent").iterdir()) == []


def test_one_that_looks_elsewhere_is_told_where_they_are(tmp_path: Path, sandbox: Sandbox | None) -> None:
    source = task_with_weights(tmp_path / "task", "'base.safetensors'")
    with pytest.raises(TaskError, match=r"task.py, line 11.*open them under Path\(__file__\)\.parent"):
        first_state(tmp_path, source, sandbox)
