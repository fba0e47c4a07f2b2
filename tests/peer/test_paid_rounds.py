"""Bounties on real peers: scored, sealed, shown, split and claimed, with nobody in the middle of it."""

import contextlib
import json
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rig

from folkmoot.cli import main
from folkmoot.errors import FolkmootError, IntegrityError
from folkmoot.ledger import statements
from folkmoot.ledger.motions import Kind
from folkmoot.ledger.purse import POINTS, Settled
from folkmoot.ledger.records import Standing
from folkmoot.ledger.transact import Sender
from folkmoot.network import Message
from folkmoot.peer import governing
from folkmoot.peer.journal import Journal, ratings
from folkmoot.peer.messages import Concurrence, Split
from folkmoot.peer.paying import Paying
from folkmoot.peer.season import decode_told
from folkmoot.peer.workplace import Workplace

HONEST = ["anna", "bert", "carl"]
NAMES = [*HONEST, "nick", "rita"]
TASK = """
import numpy as np
import folkmoot as fm


def load(path):
    with np.load(path) as data:
        return (data["x"], data["y"]), (data["held_x"], data["held_y"])


task = fm.LogisticTask(
    name="halves",
    load=load,
    features=6,
    standardise=False,
    learning_rate=0.3,
    metrics=METRICS,
    policy=fm.Policy(**POLICY),
)
"""
POLICY = {"rounds": 8, "min_members": 3, "start_members": 5, "bits": 32} | {
    f"{phase}_seconds": 2 for phase in ("train", "exchange", "final")
}


def halves(folder: Path, **policy: object) -> Path:
    """The task: which half of space a point lies in."""
    path = folder / "task.py"
    metrics = policy.pop("metrics", '{"loss": fm.metrics.log_loss}')
    path.write_text(TASK.replace("METRICS", str(metrics)).replace("**POLICY", f"**{POLICY | policy!r}"))
    return path


def points(folder: Path, names: list[str]) -> dict[str, Path]:
    """A file for each member; the labels of nick's examples are turned round."""
    random = np.random.default_rng(7)
    made = {}
    for name in names:
        x = random.normal(size=(160, 6))
        y = (x.sum(axis=1) + 0.3 * random.normal(size=160) > 0).astype(float)
        told = 1 - y[:80] if name == "nick" else y[:80]
        made[name] = folder / f"{name}.npz"
        np.savez(made[name], x=x[:80], y=told, held_x=x[80:], held_y=y[80:])
    return made


def ride() -> None:
    """In rita's peer: it sends zeros, whatever its data, and has a split of its own, with all for itself."""
    Workplace.worker = ("folkmoot.simulate.lying_worker", "zero")
    key = secrets.token_bytes(32)

    async def settle(self: Paying, first: int, last: int, tokens: Sequence[str]) -> None:
        if await self._split(first, last) is None:
            return
        mine = (0, 0, 0, 0, 1)
        signatures = await self._gather(first, last, mine, sorted(self._peer.living))
        signatures |= {m: statements.sign(key, self._digest(first, last, mine)) for m in range(4)}
        for token in tokens:
            with contextlib.suppress(FolkmootError):
                self._bounty.purse.settle(self._record.id, token, last, mine, signatures)
                self._peer.log("robbed")

    async def sign(self: Paying, message: Split) -> Message:
        return Concurrence(signature=statements.sign(key, bytes(32)))

    Paying.settle, Paying.sign = settle, sign  # type: ignore[method-assign]


def endow(moot: rig.Rig, task: int, amount: int) -> None:
    """Points for the task, by vote."""
    motion = governing.move(moot.client(), Kind.ENDOW, task, amount)
    others = iter(moot.names[1:])
    while not motion.done:
        motion = governing.vote(moot.client(next(others)), motion.id)


def coins(moot: rig.Rig, owner: str, amount: int) -> str:
    """A token that has nothing to do with the moot, all of it the owner's."""
    home = moot.homes[owner]
    sender = Sender(home.chain(), home.identity.account)
    token = sender.receipt(sender.send(None, POINTS.deploy(sender.address))).contract
    assert token is not None
    sender.send(token, POINTS.call("mint", amount))
    return token


def settled(moot: rig.Rig, task: int, count: int = 1) -> list[Settled]:
    def look() -> list[Settled] | None:
        found = moot.client().purse.settlements(task, 1)
        return found if len(found) >= count else None

    return moot.until(f"task {task} has {count} settlements", look)


def says(moot: rig.Rig, name: str, event: str) -> list[dict[str, Any]]:
    return [record for record in moot.log(name) if record["event"] == event]


@pytest.fixture(scope="module")
def moot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rig.Rig]:
    """A task with two pots; bert is killed when its scores are sealed, and comes back."""
    folder = tmp_path_factory.mktemp("rewards")
    with rig.moot(folder / "moot", NAMES, start=False) as running:
        running.start("rita", before=ride)
        running.start(*NAMES[:-1])
        task = running.offer(halves(folder, exchange_seconds=3), points(folder, NAMES), grant=False)
        endow(running, task, 1000)
        running.client("anna").purse.fund(task, coins(running, "anna", 70), 70)
        running.grant(task, *NAMES)
        running.finish(task)
        purse, last = running.client().purse, POLICY["rounds"] + 1  # the round that measures ends the last season
        running.until("bert has sealed", lambda: 1 in purse.seals(task, last, 1))
        running.kill("bert")
        running.start("bert")
        settled(running, task, 2)
        running.filled(task, "carl")
        yield running


def test_members_are_paid_in_the_order_of_their_use_and_no_unit_is_lost(moot: rig.Rig) -> None:
    found = {paid.amount: paid for paid in moot.client().purse.settlements(1, 1)}
    assert found.keys() == {1000, 70}
    assert found[1000].weights == found[70].weights, "one word serves both pots"
    for amount, paid in found.items():
        *honest, noisy, rider = paid.parts
        assert sum(paid.parts) == amount
        assert min(honest) > 3 * max(noisy, rider) > 0


def test_a_peer_that_was_killed_between_seal_and_show_shows_what_it_sealed(moot: rig.Rig) -> None:
    purse = moot.client().purse
    assert sorted(purse.unsealed(1, 9, 1)) == [0, 1, 2, 3, 4]
    assert 9 in ratings(moot.homes["bert"], 1)


def test_a_split_that_is_nobody_elses_and_a_forged_signature_are_refused(moot: rig.Rig) -> None:
    refused = says(moot, "rita", "not agreed")
    assert {record["with_member"] for record in refused} >= {1, 3, 4}
    assert any("another split follows" in record["error"] for record in refused)
    assert not says(moot, "rita", "robbed")
    forged = [r for name in NAMES[:-1] for r in says(moot, name, "not agreed") if r["with_member"] == 5]
    assert any("signature" in record["error"] for record in forged)
    assert all(not paid.signers >> 4 & 1 for paid in moot.client().purse.settlements(1, 1))


def test_verify_makes_every_split_anew_and_names_one_that_differs(
    moot: rig.Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert moot.verify("carl").settlements == 2
    monkeypatch.setattr("folkmoot.peer.settlements.weights", lambda *_: (1, 1, 1, 1, 1))
    with pytest.raises(IntegrityError, match=r"rounds 1 to 9 \(block .*: the part of anna is not what"):
        moot.verify("carl")


def test_what_is_owed_is_claimed_once_in_every_token(moot: rig.Rig, capsys: pytest.CaptureFixture[str]) -> None:
    def folkmoot(*words: str) -> Any:
        with pytest.raises(SystemExit) as leaving:
            main([*words, "--home", str(moot.homes["bert"].path)])
        assert not leaving.value.code
        return capsys.readouterr().out

    told = json.loads(folkmoot("rewards", "1", "--json"))
    assert [pot["funded"] for pot in told["pots"]] == [1000, 70]
    assert told["scores"]["anna"]["score"] > 0 > told["scores"]["nick"]["score"]
    assert told["scores"]["anna"]["survived"] == 9, "the round that measures, too"
    account, purse = moot.client("bert").me().main, moot.client().purse
    owed = {token: of["bert"] for token, of in told["owed"].items()}
    assert [sum(settled["parts"].values()) for settled in told["settlements"]] == [1000, 70]
    assert "points for rounds 1 to 9: anna" in folkmoot("rewards", "1")
    assert "points are paid to" in folkmoot("rewards", "claim")
    assert {token: purse.balance(token, account) for token in owed} == owed
    assert "nothing is owed to bert" in folkmoot("rewards", "claim")
    assert moot.verify("carl").settlements == 2


def test_a_sum_that_tells_nobody_apart_pays_alike_and_a_stopped_task_pays_all_at_once(tmp_path: Path) -> None:
    """No scores are told of it, so nobody waits for any."""
    names = NAMES[:4]
    policy = {"secrecy": "sums", "rounds": 1000, "start_members": 4, "exchange_seconds": 60}
    with rig.moot(tmp_path / "moot", names) as moot:
        task = moot.offer(halves(tmp_path, **policy), points(tmp_path, names))
        endow(moot, task, 1001)
        moot.reach(task, 3)
        motion = governing.move(moot.client("anna"), Kind.STEER, task, int(Standing.STOPPED))
        for name in names[1:3]:
            motion = governing.vote(moot.client(name), motion.id)
        (paid,) = settled(moot, task)
        assert (paid.amount, sum(paid.parts)) == (1001, 1001)
        assert max(paid.parts) - min(paid.parts) <= 1001 // 5
        assert moot.client().purse.sealing(task, paid.last) == 0
        moot.filled(task, "anna")
        assert moot.verify("anna").settlements == 1


def test_the_first_scores_that_a_peer_means_to_seal_stay_its_word(tmp_path: Path) -> None:
    """It may have been killed after it posted the seal, and before it knew that."""
    journal = Journal(tmp_path / "journal.sqlite")
    journal.seal(1, 8, bytes(32), b"first")
    journal.seal(1, 8, b"\x01" * 32, b"second")
    assert journal.sealed(1, 8) == (bytes(32), b"first")
    assert journal.sealed(1, 7) is None
    for vector in (b"old", b"new"):  # the chain put another round in the place of the first
        journal.score(1, 3, vector.ljust(32), vector)
    assert journal.scored(1, 1, 8) == {3: (b"new".ljust(32), b"new")}


@pytest.mark.long
def test_a_long_task_pays_after_a_hundred_rounds_while_it_goes_on(tmp_path: Path) -> None:
    names = NAMES[:4]
    with rig.moot(tmp_path / "moot", names) as moot:
        task = moot.offer(halves(tmp_path, rounds=260, start_members=4), points(tmp_path, names), grant=False)
        endow(moot, task, 2600)
        moot.grant(task, *names)
        moot.finish(task)
        paid = settled(moot, task, 3)
        assert [(each.first, each.last, each.amount) for each in paid] == [
            (1, 100, 1000),
            (101, 200, 1000),
            (201, 260, 600),
        ]
        assert all(each.parts[3] < min(each.parts[:3]) for each in paid), "nick's labels are turned round"
        told = moot.client().purse.unsealed(task, 100, 1)
        assert all(len(decode_told(data, 100)) > 10 for data in told.values())
        moot.filled(task, "carl")
        assert moot.verify("carl").settlements == 3


@pytest.mark.long
@pytest.mark.parametrize("gather_up_to", [8, 12], ids=["sharded", "whole"])
def test_secret_groups_are_scored_by_their_sums(tmp_path: Path, gather_up_to: int) -> None:
    names = [f"honest{at}" for at in range(10)] + ["nick", "rita"]
    policy = {"secrecy": "sums", "robust": "trimmed-mean", "faults": 1, "clip": 1.0, "min_members": 12}
    policy |= {"start_members": 12, "rounds": 20, "gather_up_to": gather_up_to}
    policy |= {f"{phase}_seconds": 20 for phase in ("train", "exchange", "final")}
    with rig.moot(tmp_path / "moot", names, start=False) as moot:
        moot.start("rita", before=ride)
        moot.start(*names[:-1])
        task = moot.offer(halves(tmp_path, **policy), points(tmp_path, names))
        endow(moot, task, 1200)
        moot.finish(task)
        (paid,) = settled(moot, task)
        told = moot.client().purse.unsealed(task, 20, 1)
        assert len(told) == 12
        assert all(len(decode_told(data, 20)) > 10 for data in told.values())
        assert sum(paid.parts) == 1200
        assert sum(paid.parts[:10]) > 10 * max(paid.parts[10:])
        moot.filled(task, "nick")
        assert moot.verify("nick").settlements == 1
