"""One of four members lies in another way in each round: the honest three finish, with one model that replays.

What becomes of the liar's own contribution is as `docs/threat-model.md` says.
"""

import asyncio
import functools
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rig
from liar import Liar, Lie, Made, wait_for_freeze

from folkmoot.digest import blob_hash
from folkmoot.errors import LedgerRefused
from folkmoot.peer.messages import Ack, Push, Shown, Sums
from folkmoot.round import members_of
from folkmoot.round.events import Reveal
from folkmoot.round.fixed import SIDE_BITS, pack

NAMES = ["anna", "bert", "carl", "liar"]
HONEST = (0, 1, 2)
ANYONE = 0xF


def as_it_is(honest: bytes) -> bytes:
    return honest


async def tells_the_truth(liar: Liar, made: Made) -> None:
    await liar.all(lambda to: liar.push(made), made.honest)


async def falls_silent(liar: Liar, made: Made) -> None:
    await wait_for_freeze(liar, made)


async def shows_it_to_one_member_only(liar: Liar, made: Made) -> None:
    await liar.tell(1, liar.push(made), made.honest)


async def sends_each_something_else_than_it_committed(liar: Liar, made: Made) -> None:
    for to, body in enumerate((made.honest[::-1], made.honest * 1000, made.honest[: len(made.honest) // 2])):
        await liar.tell(to, liar.push(made), body)


async def sends_two_blobs_for_one_commit(liar: Liar, made: Made) -> None:
    other = bytes([made.honest[0] ^ 1]) + made.honest[1:]
    await liar.tell(0, liar.push(made), made.honest)
    await liar.tell(1, liar.push(made), other)
    await liar.tell(2, liar.push(made, Reveal(made.reveal.salt, (blob_hash(other),))), other)


async def opens_its_commit_with_another_salt(liar: Liar, made: Made) -> None:
    await liar.all(lambda to: liar.push(made, Reveal(secrets.token_bytes(32), made.reveal.shards)), made.honest)


def wrong_shape(honest: bytes) -> bytes:
    return honest + bytes(8)


async def shows_its_wrong_shape(liar: Liar, made: Made) -> None:
    await liar.all(lambda to: liar.push(made), wrong_shape(made.honest))


def boastful(honest: bytes) -> bytes:
    """With a weight of 2**45 in place of the true one."""
    side = pack(np.array([1 << 45], dtype=np.int64), SIDE_BITS)
    words = len(honest) - 2 * len(side)  # the weight, and a vote
    return honest[:words] + side + honest[words + len(side) :]


async def shows_its_weight(liar: Liar, made: Made) -> None:
    await liar.all(lambda to: liar.push(made), boastful(made.honest))


async def says_it_holds_nothing_and_what_no_one_committed(liar: Liar, made: Made) -> None:
    await tells_the_truth(liar, made)
    for contributors in (0, 1 << 200):
        await liar.all(lambda to, contributors=contributors: liar.holding(made, contributors))


async def signs_with_a_key_that_is_not_its_own(liar: Liar, made: Made) -> None:
    await tells_the_truth(liar, made)
    await liar.all(lambda to: liar.holding(made, ANYONE, secrets.token_bytes(32)))
    await liar.all(lambda to: liar.model(made, ANYONE, secrets.token_bytes(32), secrets.token_bytes(32)))


async def signs_a_model_of_its_own(liar: Liar, made: Made) -> None:
    await tells_the_truth(liar, made)
    await wait_for_freeze(liar, made)
    model = secrets.token_bytes(32)
    await liar.all(lambda to: liar.model(made, ANYONE, model))
    told = liar.model(made, ANYONE, model)
    with pytest.raises(LedgerRefused):
        liar.client.finalise(*made.key, model, model, model, {liar.me: told.signature})


async def signs_two_outcomes(liar: Liar, made: Made) -> None:
    await tells_the_truth(liar, made)
    await wait_for_freeze(liar, made)
    for model in (b"\x11" * 32, b"\x22" * 32):
        await liar.all(lambda to, model=model: liar.model(made, ANYONE, model))


async def speaks_out_of_turn(liar: Liar, made: Made) -> None:
    """Answers nobody asked for, sums of shards that do not exist, words on rounds to come, and a long silence."""
    task, round, attempt = made.key
    late = Push(
        task=task,
        round=round + 7,
        attempt=0,
        salt=bytes(32),
        shards=(bytes(32),),
        signature=bytes(65),
        carried=(0,),
    )
    await liar.all(lambda to: Shown(salt=bytes(32), shards=(bytes(32),), carried=()))
    await liar.all(lambda to: Ack())
    await liar.all(lambda to: Sums(task=task, round=round, attempt=attempt, sums={200: bytes(32)}))
    await liar.all(lambda to: late, b"?" * 1000)
    await liar.all(lambda to: Sums(task=task + 99, round=round, attempt=attempt, sums={0: bytes(32)}))


@dataclass(frozen=True)
class Case:
    then: Callable[..., object]
    survives: bool | None
    """Whether the liar's contribution counts; ``None`` where that depends on who passed it on in time."""
    refusals: int = 0
    """At least so many refusals it must have met."""
    commits: Callable[[bytes], bytes] = as_it_is


CASES = [
    Case(tells_the_truth, True),
    Case(falls_silent, False),
    Case(shows_it_to_one_member_only, None),
    Case(sends_each_something_else_than_it_committed, False, 3),
    Case(shows_its_wrong_shape, False, 3, wrong_shape),
    Case(shows_its_weight, False, 3, boastful),
    Case(says_it_holds_nothing_and_what_no_one_committed, True),
    Case(signs_with_a_key_that_is_not_its_own, True, 3),
    Case(signs_a_model_of_its_own, True),
    Case(speaks_out_of_turn, False, 3),
    Case(tells_the_truth, True),
]


EXPELLED_FOR = [
    Case(sends_two_blobs_for_one_commit, None, 2),
    Case(opens_its_commit_with_another_salt, False, 3),
    Case(signs_two_outcomes, True),
]
"""What proves itself: the liar's own signature, held against its commit or against another of its signatures."""


def test_whatever_one_of_four_does_the_honest_three_finish_with_one_model(tmp_path: Path) -> None:
    rig.side_by_side([functools.partial(finish, tmp_path / str(part), CASES[part::2]) for part in range(2)])


def finish(folder: Path, cases: list[Case]) -> None:
    folder.mkdir()
    windows = {"train_seconds": 5, "exchange_seconds": 1, "final_seconds": 2}
    source = rig.tiny_task(folder / "task.py", rounds=len(cases), start_members=4, **windows)
    data = rig.tiny_data(folder, NAMES)
    with rig.moot(folder / "moot", NAMES, start=False) as moot:
        moot.start(*NAMES[:-1])
        task = moot.offer(source, data, grant=False)
        lies = [Lie(case.commits, case.then) for case in cases]  # type: ignore[arg-type]
        liar = Liar(moot, "liar", task, lies)
        moot.grant(task, *NAMES)
        asyncio.run(asyncio.wait_for(liar.run(), rig.PATIENCE))
        model = moot.finish(task)
        finals = moot.finals(task)
        for case, final in zip(cases, finals, strict=True):
            name = case.then.__name__
            print(final.round, name, "attempt", final.attempt, "at", final.time - finals[0].time, "s")
            assert members_of(final.survivors)[:3] == HONEST, name
            assert case.survives in (None, bool(final.survivors >> 3 & 1)), name
            assert len(liar.refusals.get(final.round, [])) >= case.refusals, (name, liar.refusals.get(final.round))
        moot.filled(task)
        for name in NAMES[:-1]:
            assert moot.verify(name).models == {task: model}
            assert not [r for r in moot.log(name) if "internal error" in str(r.get("message"))]


@pytest.mark.parametrize("case", EXPELLED_FOR, ids=lambda case: case.then.__name__)
def test_who_proves_itself_a_liar_is_named_on_the_ledger_and_out_of_the_rounds_that_follow(
    tmp_path: Path, case: Case
) -> None:
    """defence: Tribunal.accuse; without it the liar takes part to the end."""
    source = rig.tiny_task(tmp_path / "task.py", rounds=4, start_members=4, train_seconds=4, exchange_seconds=1)
    data = rig.tiny_data(tmp_path, NAMES)
    with rig.moot(tmp_path / "moot", NAMES, start=False) as moot:
        moot.start(*NAMES[:-1])
        task = moot.offer(source, data, grant=False)
        lie = Lie(case.commits, case.then)  # type: ignore[arg-type]
        honest = Lie(as_it_is, tells_the_truth)  # type: ignore[arg-type]
        liar = Liar(moot, "liar", task, [lie, honest, honest, honest])
        moot.grant(task, *NAMES)
        asyncio.run(asyncio.wait_for(liar.run(), rig.PATIENCE))
        model = moot.finish(task)
        (expulsion,) = moot.client().expulsions(task)
        assert (expulsion.member, moot.client().task(task).barred) == (3, 0b1000)
        assert all(final.survivors == 0b111 for final in moot.finals(task)[2:])
        with pytest.raises(LedgerRefused, match="expelled from this task"):
            moot.grant(task, "liar")
        # The proof lies in every honest store, and whoever replays the history checks it.
        moot.filled(task)
        report = moot.verify(*NAMES[:-1])
        assert (report.models, report.expelled) == ({task: model}, 1)
        assert any("barred" in error.text for name in NAMES[:-1] for error in moot.peer_status(name).errors)
