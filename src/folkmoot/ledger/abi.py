"""The contract's calls, answers and events as bytes: what ``Moot.vy`` speaks, to and from the values of ``records``.

What members wrote (names, addresses) is decoded here without trust: the contract bounds its length, not its content.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

from folkmoot.errors import ChainError
from folkmoot.keccak import keccak
from folkmoot.ledger.codec import decode, encode
from folkmoot.ledger.records import Commit, Dataset, Expulsion, Final, Member, MootRecord, Phase, RoundView, TaskRecord

__all__ = [
    "COMMITTED",
    "CREATION",
    "DESCRIBED",
    "EXPELLED",
    "FINALISED",
    "INVITED",
    "PAGE",
    "PROPOSED",
    "decode_about",
    "decode_commit",
    "decode_datasets",
    "decode_expulsion",
    "decode_final",
    "decode_members",
    "decode_round_view",
    "decode_tasks",
    "encode_call",
    "encode_constructor",
    "revert_reason",
    "word",
    "words",
]

_ARTEFACT: dict[str, Any] = json.loads(files("folkmoot.ledger").joinpath("Moot.json").read_text())
CREATION = bytes.fromhex(_ARTEFACT["bytecode"][2:])


def _type(item: Mapping[str, Any]) -> str:
    kind: str = item["type"]
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(map(_type, item['components']))}){kind.removeprefix('tuple')}"


def _inputs(entry: Mapping[str, Any]) -> list[str]:
    return [_type(item) for item in entry["inputs"]]


def _signature(entry: Mapping[str, Any]) -> bytes:
    return f"{entry['name']}({','.join(_inputs(entry))})".encode()


_ENTRIES = _ARTEFACT["abi"]
_FUNCTIONS = {e["name"]: (keccak(_signature(e))[:4], _inputs(e)) for e in _ENTRIES if e["type"] == "function"}
_TOPICS = {e["name"]: keccak(_signature(e)) for e in _ENTRIES if e["type"] == "event"}
_CONSTRUCTOR = next(_inputs(e) for e in _ENTRIES if e["type"] == "constructor")

COMMITTED = _TOPICS["Committed"]
DESCRIBED = _TOPICS["Described"]
EXPELLED = _TOPICS["Expelled"]
FINALISED = _TOPICS["Finalised"]
INVITED = _TOPICS["Invited"]
PROPOSED = _TOPICS["Proposed"]

PAGE = 32
"""Rows of a page, as the contract has it."""

_ERROR = keccak(b"Error(string)")[:4]
# strings are read as bytes: a member may have put anything there, and a strict decoder would refuse the whole page
_MEMBER = "(address,bytes,bytes32,bytes32,bytes,bytes)[]"
_DATASET = "(uint256,bytes32,uint256)[]"
_TASK = "(uint256,uint256,bytes32,bytes32,(uint256,uint256,uint256,uint256,uint256,uint256,uint256),uint256,uint256)[]"
_FINAL = ["uint256", *["bytes32"] * 4, *["uint256"] * 5, "bytes32[]", "bytes"]
_EXPELLED = ["bytes32", "uint256", "bytes"]


def word(value: int) -> bytes:
    """``value`` as one word: 32 bytes."""
    return value.to_bytes(32, "big")


def words(data: bytes, count: int) -> list[int]:
    """The first ``count`` words of ``data`` as numbers. Raises ``ChainError`` when there are fewer."""
    if len(data) < 32 * count:
        raise ChainError(_not_a_moot(len(data)))
    return [int.from_bytes(data[at : at + 32], "big") for at in range(0, 32 * count, 32)]


def encode_call(name: str, *arguments: Any) -> bytes:
    """Calldata for the function ``name``. Raises ``ValueError`` on arguments its types cannot hold."""
    selector, types = _FUNCTIONS[name]
    return selector + encode(types, arguments)


def encode_constructor(*arguments: Any) -> bytes:
    """Initcode that deploys a moot with these constructor arguments."""
    return CREATION + encode(_CONSTRUCTOR, arguments)


def _decode(types: Sequence[str], data: bytes) -> tuple[Any, ...]:
    try:
        return decode(types, data)
    except ValueError as error:
        raise ChainError(_not_a_moot(len(data))) from error


def _not_a_moot(size: int) -> str:
    return (
        f"the chain answered {size} bytes that no moot of this version would; check the contract's address, "
        "and that the ledger is the right one"
    )


def decode_about(data: bytes) -> MootRecord:
    """The answer of ``about()``."""
    name, seats, voucher, born = _decode(["bytes", "uint256", "address", "uint256"], data)
    return MootRecord(_text(name), seats, voucher, born)


@lru_cache(maxsize=32)
def decode_members(start: int, data: bytes) -> tuple[Member, ...]:
    """The answer of ``members(start)``."""
    (rows,) = _decode([_MEMBER], data)
    return tuple(
        Member(start + i, account, _text(name), endpoint, exchange, binding, _hints(raw))
        for i, (account, name, endpoint, exchange, binding, raw) in enumerate(rows)
    )


def decode_datasets(start: int, data: bytes) -> tuple[Dataset, ...]:
    """The answer of ``datasets(start)``."""
    (rows,) = _decode([_DATASET], data)
    return tuple(Dataset(start + i, owner, card, records) for i, (owner, card, records) in enumerate(rows))


def decode_tasks(data: bytes) -> tuple[TaskRecord, ...]:
    """The answer of ``tasks(start)``."""
    (rows,) = _decode([_TASK], data)
    return tuple(map(_task, rows))


def _task(row: Sequence[Any]) -> TaskRecord:
    id, proposer, bundle, genesis, terms, granted, barred = row
    rounds, min_members, start_members, train, exchange, final, sealed = terms
    numbers = (rounds, min_members, start_members, train, exchange, final)
    return TaskRecord(id, proposer, bundle, genesis, *numbers, bool(sealed), granted, barred)


def decode_round_view(task: int, data: bytes) -> RoundView:
    """The answer of ``round_view(task)``.

    Read by hand: peers ask this many times a second, and 18 words at fixed places need no general decoder.
    """
    head = words(data, 18)
    count = head[17]
    if head[0] != 32 or head[16] != 512 or len(data) != 576 + 32 * count or not head[3] <= Phase.DONE:
        raise ChainError(_not_a_moot(len(data)))
    return RoundView(
        task=task,
        round=head[1],
        attempt=head[2],
        phase=Phase(head[3]),
        parent=data[128:160],
        beacon=data[160:192],
        members=head[6],
        expected=head[7],
        dealt=head[8],
        committed=head[9],
        commits=tuple(data[at : at + 32] for at in range(576, len(data), 32)),
        survivors=head[10],
        commit_deadline=head[11],
        closed_at=head[12],
        final_deadline=head[13],
        min_members=head[14],
        exchange_seconds=head[15],
    )


def decode_final(topics: Sequence[bytes], data: bytes, block: int) -> Final:
    """A ``Finalised`` event."""
    task, round = (int.from_bytes(topic, "big") for topic in topics[1:3])
    row = _decode(_FINAL, data)
    attempt, parent, inputs, aggregate, model, survivors, members, dealt, signers, time, commits, signatures = row
    return Final(
        task=task,
        round=round,
        attempt=attempt,
        parent=parent,
        inputs=inputs,
        aggregate=aggregate,
        model=model,
        survivors=survivors,
        commits=commits,
        signers=signers,
        signatures=tuple(signatures[at : at + 65] for at in range(0, len(signatures), 65)),
        members=members,
        dealt=dealt,
        block=block,
        time=time,
    )


def decode_expulsion(topics: Sequence[bytes], data: bytes, block: int) -> Expulsion:
    """An ``Expelled`` event."""
    task, member = (int.from_bytes(topic, "big") for topic in topics[1:3])
    evidence, signers, signatures = _decode(_EXPELLED, data)
    return Expulsion(
        task=task,
        member=member,
        evidence=evidence,
        signers=signers,
        signatures=tuple(signatures[at : at + 65] for at in range(0, len(signatures), 65)),
        block=block,
    )


def decode_commit(topics: Sequence[bytes], data: bytes, block: int) -> Commit:
    """A ``Committed`` event."""
    task, round = (int.from_bytes(topic, "big") for topic in topics[1:3])
    attempt, member, _ = words(data, 3)
    return Commit(task, round, attempt, member, data[64:96], block)


def revert_reason(output: bytes) -> str | None:
    """The reason in a revert's output, if it carries one."""
    if output[:4] != _ERROR:
        return None
    try:
        (reason,) = decode(["bytes"], output[4:])
    except ValueError:
        return None
    return _text(reason)


def _text(raw: bytes) -> str:
    """What someone else wrote, fit to be printed: no control characters, no invalid UTF-8."""
    return "".join(c if c.isprintable() else "\ufffd" for c in raw.decode(errors="replace"))


def _hints(raw: bytes) -> tuple[str, ...]:
    return tuple(hint for hint in _text(raw).split(",") if hint)
