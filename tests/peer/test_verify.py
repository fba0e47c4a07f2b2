"""The replay by someone who took no part: any damage to ledger or blobs is found, and named."""

import random
import re
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import rig

from folkmoot.digest import Hash, blob_hash
from folkmoot.errors import FolkmootError, IntegrityError, LocalError
from folkmoot.ledger import statements
from folkmoot.ledger.chainverify import copy_chain
from folkmoot.peer.local import LocalMoot
from folkmoot.peer.verify import verify
from folkmoot.round import fixed
from folkmoot.round.commitment import commit_hash, contribution_root, encode_hashes, encode_inputs, seat_of
from folkmoot.round.events import Reveal
from folkmoot.round.reduce import layout_of, make_shards, next_state, sum_row
from folkmoot.store import Store
from folkmoot.task import Context, load_task, read_state, state_bytes

NAMES = ["anna", "bert", "carl", "dora"]
ROUNDS = 3


@dataclass(frozen=True)
class Copy:
    """What an auditor gets: one file with the ledger, and one peer's folder of blobs."""

    ledger: Path
    store: Path

    def blobs(self) -> list[Path]:
        return sorted(path for path in (self.store / "blobs").rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    folder = tmp_path_factory.mktemp("audited")
    with rig.moot(folder / "moot", NAMES) as moot:
        source = rig.tiny_task(folder / "task.py", rounds=ROUNDS, start_members=4, train_seconds=10)
        task = moot.offer(source, rig.tiny_data(folder, NAMES))
        moot.finish(task)
        moot.filled(task, "bert")
    copy_chain(moot.ledger_file, folder / "ledger.sqlite")
    shutil.copytree(moot.homes["bert"].blobs, folder / "blobs")
    return Copy(folder / "ledger.sqlite", folder / "blobs")


@pytest.fixture
def copy(original: Copy, tmp_path: Path) -> Copy:
    shutil.copyfile(original.ledger, tmp_path / "ledger.sqlite")
    shutil.copytree(original.store, tmp_path / "blobs")
    return Copy(tmp_path / "ledger.sqlite", tmp_path / "blobs")


def test_an_undamaged_copy_holds_and_is_not_changed(copy: Copy) -> None:
    before = (copy.ledger.read_bytes(), copy.blobs())
    report = verify(copy.ledger, None, [copy.store])
    assert (report.members, report.tasks, report.rounds, report.notes) == (4, 1, ROUNDS, [])
    assert (copy.ledger.read_bytes(), copy.blobs()) == before


def flip(path: Path, at: int, bit: int) -> None:
    with path.open("rb+") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ (1 << bit)]))


@pytest.mark.parametrize("seed", range(4))
def test_any_changed_byte_of_the_ledger_is_found_and_its_place_named(copy: Copy, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(8):
        at, bit = chance.randrange(copy.ledger.stat().st_size), chance.randrange(8)
        flip(copy.ledger, at, bit)
        with pytest.raises(FolkmootError) as caught:
            verify(copy.ledger, None, [copy.store])
        assert isinstance(caught.value, IntegrityError), f"byte {at}, bit {bit}: {caught.value}"
        assert re.search(r"bytes? \d|block \d|transaction \d|table|page", str(caught.value)), (
            f"byte {at}: {caught.value}"
        )
        flip(copy.ledger, at, bit)


def test_any_changed_byte_of_a_blob_is_found_and_the_blob_named(copy: Copy) -> None:
    chance = random.Random(5)
    for _ in range(30):
        blob = chance.choice(copy.blobs())
        at, bit = chance.randrange(blob.stat().st_size), chance.randrange(8)
        flip(blob, at, bit)
        with pytest.raises(IntegrityError, match=blob.name):
            verify(copy.ledger, None, [copy.store])
        flip(blob, at, bit)


def test_a_removed_blob_is_named_with_what_it_is(copy: Copy) -> None:
    said = set()
    for blob in copy.blobs():
        content = blob.read_bytes()
        blob.unlink()
        if is_state(content):  # the replay makes it anew
            assert verify(copy.ledger, None, [copy.store]).rounds == ROUNDS
        else:
            with pytest.raises(LocalError, match=blob.name) as caught:
                verify(copy.ledger, None, [copy.store])
            said.add(re.sub(r" \(blob.*", "", str(caught.value)))
        blob.write_bytes(content)
    assert said == {
        "the code of task 1",
        *(f"task 1, round {r}: the record of its {record}" for r in (1, 2, 3, 4) for record in ("inputs", "aggregate")),
        *(f"task 1, round {r}: the contribution of {name}" for r in (1, 2, 3) for name in NAMES),
        # without metrics there is nothing to measure: all say the same, in one blob
        f"task 1, round 4: the contribution of {NAMES[0]}",
    }


def is_state(content: bytes) -> bool:
    try:
        read_state(content)
    except FolkmootError:
        return False
    return True


def test_a_folder_that_is_no_store_and_a_missing_ledger_are_named(copy: Copy, tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="is not a peer's store of blobs"):
        verify(copy.ledger, None, [tmp_path / "nowhere"])
    with pytest.raises(LocalError, match=r"there is no ledger file .*nowhere"):
        verify(tmp_path / "nowhere", None, [copy.store])


# ---- rounds that a quorum forged: the chain takes them, the replay does not ------------------------------------------


@dataclass(frozen=True)
class Told:
    """What a colluding quorum puts on the ledger and into its blobs about a round."""

    reveals: dict[int, Reveal]
    total: np.ndarray
    inputs: bytes
    aggregate: bytes
    model: bytes


def forge(folder: Path, change: Callable[[Told], Told]) -> Copy:
    """A ledger with one round by three members without any peer running, as they told it after ``change``."""
    moot = LocalMoot.found(folder, NAMES[:3], name="forged")
    source = rig.tiny_task(folder / "task.py", rounds=1)
    task = moot.offer(source, rig.tiny_data(folder, NAMES[:3]))
    moot.grant(task, NAMES[:3])
    client = [home.moot() for home in moot.homes.values()]
    store = next(iter(moot.homes.values())).store()
    code = load_task(store.get(client[0].task(task).bundle))
    view = client[0].round_view(task)
    state = read_state(store.get(view.parent))
    layout = layout_of(code, state)
    reveals, shards = {}, {}
    for member in range(3):
        data = ("", np.ones(3))
        (shards[member],), _ = make_shards(code, state, data, Context(1, bytes([member]) * 32), layout, 1)
        reveals[member] = Reveal(secrets.token_bytes(32), (store.put(shards[member]),))
        root = contribution_root(reveals[member].shards)
        client[member].commit(task, 1, 0, commit_hash(reveals[member].salt, seat_of(member), task, 1, 0, root))
    total = sum_row(shards.values(), 0, layout, 1)[None]
    packed = fixed.encode_sum(total, 0, layout, 1, [3])
    new, _ = next_state(code, state, layout, [total], [3])
    told = change(Told(reveals, total, encode_inputs(reveals), encode_hashes([blob_hash(packed)]), state_bytes(new)))
    put_on_ledger(moot, task, [store.put(blob) for blob in (told.inputs, told.aggregate, told.model)])
    copy_chain(folder / "ledger.sqlite", folder / "copy.sqlite")
    return Copy(folder / "copy.sqlite", store.root)


def put_on_ledger(moot: LocalMoot, task: int, hashes: list[Hash]) -> None:
    inputs, aggregate, model = hashes
    clients = [home.moot() for home in moot.homes.values()]
    keys = [bytes(home.identity.account.key) for home in moot.homes.values()]
    domain, parent = clients[0].domain, clients[0].round_view(task).parent
    held = statements.holding_digest(domain, task, 1, 0, 0b111)
    clients[0].freeze(task, 1, 0, {member: (0b111, statements.sign(key, held)) for member, key in enumerate(keys)})
    outcome = statements.model_digest(domain, task, 1, 0, parent, inputs, aggregate, model, 0b111)
    signatures = {member: statements.sign(key, outcome) for member, key in enumerate(keys)}
    clients[0].finalise(task, 1, 0, inputs, aggregate, model, signatures)


def other_model(told: Told) -> Told:
    state = read_state(told.model)
    return replace(told, model=state_bytes(replace(state, arrays={"mean": state.arrays["mean"] + 1.0})))


def other_sum(told: Told) -> Told:
    return replace(told, aggregate=encode_hashes([blob_hash(b"another sum")]))


def other_shards(told: Told) -> Told:
    swapped = {0: told.reveals[1], 1: told.reveals[0], 2: told.reveals[2]}
    return replace(told, inputs=encode_inputs(swapped))


def fewer_members(told: Told) -> Told:
    return replace(told, inputs=encode_inputs({member: told.reveals[member] for member in (0, 1)}))


def more_shards_than_contributions(told: Told) -> Told:
    return replace(told, aggregate=told.aggregate + blob_hash(b"a second shard"))


def no_record_at_all(told: Told) -> Told:
    return replace(told, inputs=b"?")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_model, "task 1, round 1: its aggregate does not lead to its model"),
        (other_sum, r"task 1, round 1: the contributions do not add up to its aggregate \(shard 0\)"),
        (other_shards, "task 1, round 1: the contribution of anna is not what it committed"),
        (fewer_members, "task 1, round 1: the record of its inputs names other members than the survivors"),
        (more_shards_than_contributions, "task 1, round 1: its aggregate has 2 shards, and 1 are due"),
        (no_record_at_all, "task 1, round 1: these 1 bytes are not the record of a round's inputs"),
    ],
)
def test_a_round_that_a_whole_quorum_forged_is_named(tmp_path: Path, change: Callable[[Told], Told], said: str) -> None:
    forged = forge(tmp_path, change)
    with pytest.raises(IntegrityError, match=said):
        verify(forged.ledger, None, [forged.store])


def test_the_same_round_told_as_it_was_holds(tmp_path: Path) -> None:
    true = forge(tmp_path, lambda told: told)
    assert verify(true.ledger, None, [true.store]).rounds == 1


def test_a_blob_may_be_in_any_of_several_stores(copy: Copy, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    for blob in copy.blobs()[::2]:
        other.put(blob.read_bytes())
        blob.unlink()
    assert verify(copy.ledger, None, [copy.store, other.root]).rounds == ROUNDS
