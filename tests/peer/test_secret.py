"""Real peers whose contributions are masked: through deaths, and up to what each lets its data tell."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rig

from folkmoot.ledger.motions import Kind
from folkmoot.ledger.records import Standing
from folkmoot.peer.status import PrivacyStatus
from folkmoot.round import members_of
from folkmoot.round.commitment import decode_masked_inputs
from folkmoot.round.groups import NO_BEACON
from folkmoot.round.plan import make_plan
from folkmoot.task import read_state
from folkmoot.task.policy import Policy

NAMES = ["anna", "bert", "carl", "dora", "emil"]
WINDOWS = {"train_seconds": 3, "exchange_seconds": 2, "final_seconds": 3}


def tells_wrong_seeds(*_: object) -> None:
    """Make this process tell others than its own mask seeds."""
    from folkmoot.peer import unmasking

    honest = unmasking.Masking.release
    unmasking.Masking.release = lambda self, survivors: {t: bytes(16) for t in honest(self, survivors)}  # type: ignore[method-assign]


def deals_false_shares_and_falls_silent(*_: object) -> None:
    """Make this process put another hash of its own seed into its envelopes, and tell no seeds after the freeze."""
    from folkmoot.peer import unmasking
    from folkmoot.round import masking

    honest = masking.seal

    async def silence(self: object, action: object, dataset: int) -> None:
        pass

    masking.seal = lambda secrets: bytes(32) + honest(secrets)[32:]
    unmasking.Unmasking.release = silence  # type: ignore[method-assign]
    unmasking.Masking.shares = lambda self, dealer, survivors: {}  # type: ignore[method-assign]


def test_masked_rounds_go_on_through_deaths_and_limits(tmp_path: Path) -> None:
    parts = (a_member_dies, a_limit_is_reached, a_rule_sees_each_contribution)
    rig.side_by_side([functools.partial(part, tmp_path / part.__name__) for part in parts])


def a_member_dies(folder: Path) -> None:
    """One is killed while rounds are made: the seeds it shared are opened, its own never; and back it comes."""
    folder.mkdir()
    source = rig.tiny_task(folder / "task.py", rounds=8, start_members=5, secrecy="sums", pause=0.3, **WINDOWS)
    with rig.moot(folder / "moot", NAMES) as moot:
        task = moot.offer(source, rig.tiny_data(folder, NAMES))
        moot.reach(task, 3)
        moot.kill("bert")
        moot.reach(task, 4)
        rig.decide(moot, "anna", "carl", "dora", kind=Kind.STEER, words=(task, Standing.PAUSED))
        moot.start("bert")  # the rounds would not wait for it, however long it takes
        moot.until("bert has the task again", lambda: sum(r["event"] == "task" for r in moot.log("bert")) == 2)
        rig.decide(moot, "anna", "carl", "dora", kind=Kind.STEER, words=(task, Standing.ADOPTED))
        model = moot.finish(task)
        moot.filled(task)
        finals, store = moot.finals(task), moot.homes["anna"].store()
        lost = [final for final in finals if not final.survivors >> 1 & 1 and final.dealt >> 1 & 1]
        assert lost, "the killed one was not missed"
        assert finals[-1].survivors == 0b11111, "not everyone is back in the last round"
        for final in finals:
            reveals, seeds = decode_masked_inputs(store.get(final.inputs))
            dead = set(members_of(final.dealt)) - set(reveals)
            assert set(seeds) == set(reveals)
            for member, told in seeds.items():
                assert set(told) == {member} | dead, "of each survivor its own seed, and those it shares with the lost"
        for name in NAMES:
            assert moot.verify(name).models == {task: model}


def a_limit_is_reached(folder: Path) -> None:
    """Under noise for members, with a limit that pays for fewer rounds than are planned, a peer sits the rest out."""
    folder.mkdir()
    terms = {"secrecy": "sums", "clip": 40.0, "epsilon": 20.0, "rounds": 5, "start_members": 5, "min_members": 3}
    source = rig.tiny_task(folder / "task.py", **terms, **WINDOWS | {"train_seconds": 10})
    with rig.moot(folder / "moot", NAMES) as moot:
        task = moot.offer(source, rig.tiny_data(folder, NAMES), grant=False)
        for name in NAMES:
            client, dataset = moot.client(name), max(moot.homes[name].data())
            client.grant(task, dataset, 8.0 if name == "carl" else None)
        moot.finish(task)
        took_part = [bool(final.survivors >> 2 & 1) for final in moot.finals(task)]
        told = moot.until("carl has accounted for all", lambda: known(moot, task, "carl", sum(took_part)))
        assert took_part == [True] * told.releases + [False] * (5 - told.releases)
        assert 0 < told.releases == told.allowed < 5
        assert told.spent is not None
        assert told.spent <= 8.0
        assert moot.said("carl", "may not spend more")
        others = moot.until("anna has accounted for all", lambda: known(moot, task, "anna", 5))
        assert (others.limit, others.allowed) == (None, None)
        assert others.spent is not None
        assert 19.0 < others.spent <= 20.0
        moot.filled(task)
        assert moot.verify(*NAMES).rounds == 5


@pytest.mark.parametrize("lie", [tells_wrong_seeds, deals_false_shares_and_falls_silent], ids=lambda lie: lie.__name__)
def test_who_lies_about_its_masks_is_expelled_on_the_evidence_and_the_rounds_go_on(
    tmp_path: Path, lie: Callable[[], None]
) -> None:
    """defence: Unmasking.take and Unmasking._learn accuse; without that the liar stalls every attempt."""
    source = rig.tiny_task(tmp_path / "task.py", rounds=4, start_members=5, secrecy="sums", **WINDOWS)
    with rig.moot(tmp_path / "moot", NAMES, start=False) as moot:
        moot.start(*NAMES[:-1])
        moot.start("emil", before=lie)
        task = moot.offer(source, rig.tiny_data(tmp_path, NAMES))
        model = moot.finish(task)
        (expulsion,) = moot.client().expulsions(task)
        assert expulsion.member == 4
        finals = moot.finals(task)
        assert not any(final.survivors >> 4 & 1 for final in finals[2:])
        moot.filled(task, *NAMES[:-1])
        report = moot.verify(*NAMES[:-1])
        assert (report.models, report.expelled) == ({task: model}, 1)


def known(moot: rig.Rig, task: int, name: str, releases: int) -> PrivacyStatus | None:
    """What a peer says it has spent, once it counts so many releases."""
    told = moot.status(name, task).privacy
    return told if told is not None and told.releases == releases else None


def a_rule_sees_each_contribution(folder: Path) -> None:
    """Under a public policy with a robust rule a member with wild data does not move the model; the mean it would."""
    folder.mkdir()
    data = rig.tiny_data(folder, NAMES)
    data["emil"].write_text("1e9\n")
    terms = {"rounds": 4, "start_members": 5, "robust": "trimmed-mean", "faults": 1}
    source = rig.tiny_task(folder / "task.py", **terms, **WINDOWS)
    with rig.moot(folder / "moot", NAMES) as moot:
        task = moot.offer(source, data)
        model = moot.finish(task)
        mean = read_state(moot.homes["anna"].store().get(model)).arrays["mean"]
        assert np.abs(mean).max() < 30.0
        moot.filled(task)
        assert moot.verify("anna").models == {task: model}
        view = moot.view(task)
        plan = make_plan(range(5), view.parent, 0, Policy(**terms, min_members=3), beacon=NO_BEACON)
        assert plan.rows(0b11111, 0b11111) == ((0,), (1,), (2,), (3,), (4,))
