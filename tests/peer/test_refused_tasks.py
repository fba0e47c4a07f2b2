"""Tasks that are not what they claim: every peer refuses them, says why, and goes on with the others."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import rig

from folkmoot.digest import Hash, blob_hash
from folkmoot.ledger.motions import Kind
from folkmoot.ledger.records import PolicyTerms, Standing
from folkmoot.peer import governing
from folkmoot.peer.offering import add_dataset, propose, terms_of
from folkmoot.task import load_task, make_bundle, state_bytes

NAMES = ["anna", "bert", "carl", "dora"]
SAID = {
    "raises": "The task does not load (task.py, line 1): ZeroDivisionError: division by zero.",
    "no bundle": "These 16 bytes are not a task bundle",
    "other terms": "it is refused: the ledger's terms differ from its bundle's policy",
    "other genesis": "it is refused: its first state on the ledger is not what its bundle makes",
    "nobody has it": "could not be had",
}


@dataclass
class Refused:
    moot: rig.Rig
    tasks: dict[str, int]
    good: int


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Refused]:
    """A moot whose founder proposes what no honest tool would, and then one good task."""
    folder = tmp_path_factory.mktemp("refused")
    source = rig.tiny_task(folder / "task.py", rounds=2)
    good = make_bundle(source)
    (folder / "raises.py").write_text("1 / 0\n" + source.read_text())
    with rig.moot(folder / "moot", NAMES) as moot:
        founder, store = moot.client("anna"), moot.homes["anna"].store()
        task = load_task(good)
        terms = terms_of(task.policy)
        genesis = store.put(state_bytes(task.init()))
        others = PolicyTerms(rounds=9, min_members=3, start=3, train_seconds=2, exchange_seconds=2, final_seconds=2)
        bundles: dict[str, Hash] = {
            "raises": store.put(make_bundle(folder / "raises.py")),
            "no bundle": store.put(b"no bundle at all"),
            "other terms": store.put(good),
            "other genesis": store.put(good),
            "nobody has it": blob_hash(b"what nobody has"),
        }
        tasks = {}
        for wrong, bundle in bundles.items():
            first = blob_hash(b"?") if wrong == "other genesis" else genesis
            tasks[wrong] = founder.propose(bundle, first, others if wrong == "other terms" else terms)
            adopt(moot, tasks[wrong])
        good_task = propose(moot.homes["anna"], source)[0].id
        adopt(moot, good_task)
        yield Refused(moot, tasks, good_task)


def adopt(moot: rig.Rig, task: int) -> None:
    """By the votes of three: a moot that has not looked."""
    motion = governing.adoption_of(moot.client("anna"), task) or governing.move(
        moot.client("anna"), Kind.STEER, task, Standing.ADOPTED
    )
    for name in ("bert", "carl"):
        motion = governing.vote(moot.client(name), motion.id)
    assert motion.done


@pytest.mark.parametrize("wrong", SAID)
def test_every_peer_says_why_it_refuses(refused: Refused, wrong: str) -> None:
    for name in NAMES:
        status = refused.moot.until(
            f"{name} refuses", lambda name=name: said(refused.moot, name, refused.tasks[wrong], SAID[wrong])
        )
        assert status.name in ("", "tiny")


def said(moot: rig.Rig, name: str, task: int, words: str) -> rig.TaskStatus | None:
    status = moot.status(name, task)
    return status if words in status.reason else None


def test_the_peers_stay_up_and_train_what_is_good(refused: Refused) -> None:
    moot = refused.moot
    for name in NAMES:
        path = moot.local.folder / f"{name}.txt"
        path.write_text("1\n2\n")
        add_dataset(moot.homes[name], path, 2)
    moot.ready(refused.good)
    moot.grant(refused.good, *NAMES)
    moot.finish(refused.good)
    moot.filled(refused.good, "carl")
    assert moot.verify("carl").rounds == 2


def test_a_refused_task_leaves_no_worker_behind(refused: Refused) -> None:
    """The good task's worker is at rest too by now, or will be."""
    moot = refused.moot
    for name in NAMES:
        moot.until(f"{name} has no worker", lambda name=name: not rig.children(moot.processes[name].pid))
