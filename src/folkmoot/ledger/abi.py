"""The answers and events of ``Moot.vy`` as the values of ``records``; ``assembly`` has those of ``Assembly.vy``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from folkmoot.ledger.address import checksum_address
from folkmoot.ledger.interface import Interface, answer, not_a_moot, words
from folkmoot.ledger.records import (
    Commit,
    Dataset,
    Expulsion,
    Final,
    Grant,
    Phase,
    RoundView,
    Seated,
    Standing,
    TaskRecord,
    members_of,
)

__all__ = [
    "COMMITTED",
    "EXPELLED",
    "FINALISED",
    "GRANTED",
    "MOOT",
    "PAGE",
    "SEATED",
    "decode_commits",
    "decode_datasets",
    "decode_expulsion",
    "decode_final",
    "decode_grant",
    "decode_round_view",
    "decode_seated",
    "decode_tasks",
]

MOOT = Interface("Moot")
COMMITTED = MOOT.topics["Committed"]
EXPELLED = MOOT.topics["Expelled"]
FINALISED = MOOT.topics["Finalised"]
GRANTED = MOOT.topics["Granted"]
SEATED = MOOT.topics["Seated"]

PAGE = 32
"""Rows of a page, as the contracts have it."""
MILLION = 1_000_000
"""A grant's limit is kept in millionths of epsilon."""

_DATASET = "(uint256,bytes32,bytes32,bytes32,uint256)[]"
_TERMS = "(uint256,uint256,uint256,uint256,uint256,uint256,uint256)"
_TASK = f"(uint256,uint256,bytes32,bytes32,{_TERMS},uint256,uint256,uint256)[]"
_COMMITTED = ["uint256", "uint256", "bytes32[]"]
_FINAL = ["uint256", *["bytes32"] * 4, *["uint256"] * 6, "bytes"]
_EXPELLED = ["bytes32", "uint256", "bytes"]
_VIEW_WORDS = 19


def decode_datasets(start: int, data: bytes) -> tuple[Dataset, ...]:
    """The answer of ``datasets(start)``."""
    (rows,) = answer([_DATASET], data)
    return tuple(Dataset(start + i, *row) for i, row in enumerate(rows))


def decode_grant(data: bytes) -> Grant | None:
    """The answer of ``grant_of``; ``None`` where there is no live grant."""
    dataset, millionths, until, last = words(data, 4)
    if not dataset:
        return None
    return Grant(dataset, millionths / MILLION if millionths else None, until or None, last or None)


def decode_tasks(data: bytes) -> tuple[TaskRecord, ...]:
    """The answer of ``tasks(start)``."""
    (rows,) = answer([_TASK], data)
    return tuple(map(_task, rows))


def _task(row: Sequence[Any]) -> TaskRecord:
    id, proposer, bundle, genesis, terms, standing, granted, barred = row
    rounds, min_members, start_members, train, exchange, final, sealed = terms
    numbers = (rounds, min_members, start_members, train, exchange, final)
    return TaskRecord(id, proposer, bundle, genesis, *numbers, bool(sealed), granted, barred, Standing(standing))


def decode_round_view(task: int, data: bytes) -> RoundView:
    """The answer of ``round_view(task)``, without the commits: these are in events.

    Read by hand: peers ask this many times a second, and words at fixed places need no general decoder.
    """
    head = words(data, _VIEW_WORDS)
    if len(data) != 32 * _VIEW_WORDS or head[2] > Phase.DONE or head[16] > Standing.STOPPED:
        raise not_a_moot(len(data))
    return RoundView(
        task=task,
        round=head[0],
        attempt=head[1],
        phase=Phase(head[2]),
        parent=data[96:128],
        beacon=data[128:160],
        members=head[5],
        expected=head[6],
        dealt=head[7],
        committed=head[8],
        commits=(),
        survivors=head[9],
        commit_deadline=head[10],
        closed_at=head[11],
        final_deadline=head[12],
        min_members=head[13],
        exchange_seconds=head[14],
        opened=head[15],
        first_survivors=head[17],
        shut=bool(head[18]),
        paused=head[16] == Standing.PAUSED,
    )


def decode_final(topics: Sequence[bytes], data: bytes, block: int) -> Final:
    """A ``Finalised`` event."""
    task, round = (int.from_bytes(topic, "big") for topic in topics[1:3])
    row = answer(_FINAL, data)
    attempt, parent, inputs, aggregate, model, survivors, members, dealt, first, signers, time, signatures = row
    return Final(
        task=task,
        round=round,
        attempt=attempt,
        parent=parent,
        inputs=inputs,
        aggregate=aggregate,
        model=model,
        survivors=survivors,
        signers=signers,
        signatures=tuple(signatures[at : at + 65] for at in range(0, len(signatures), 65)),
        members=members,
        dealt=dealt,
        first_survivors=first,
        block=block,
        time=time,
    )


def decode_expulsion(topics: Sequence[bytes], data: bytes, block: int) -> Expulsion:
    """An ``Expelled`` event."""
    task, member = (int.from_bytes(topic, "big") for topic in topics[1:3])
    evidence, signers, signatures = answer(_EXPELLED, data)
    return Expulsion(
        task=task,
        member=member,
        evidence=evidence,
        signers=signers,
        signatures=tuple(signatures[at : at + 65] for at in range(0, len(signatures), 65)),
        block=block,
    )


def decode_seated(topics: Sequence[bytes], data: bytes, block: int) -> Seated:
    """A ``Seated`` event."""
    member, account, main = topics[1:4]
    return Seated(int.from_bytes(member, "big"), checksum_address(account[12:]), checksum_address(main[12:]), block)


def decode_commits(topics: Sequence[bytes], data: bytes, block: int) -> list[Commit]:
    """A ``Committed`` event: one commit or several."""
    task, round = (int.from_bytes(topic, "big") for topic in topics[1:3])
    attempt, members, hashes = answer(_COMMITTED, data)
    if members.bit_count() != len(hashes):
        raise not_a_moot(len(data))
    who = members_of(members)
    return [Commit(task, round, attempt, member, hash, block) for member, hash in zip(who, hashes, strict=True)]
