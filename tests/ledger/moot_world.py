"""The contract on titanoboa, with members whose keys are known: what all contract tests stand on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import boa

from folkmoot.ledger import build, statements
from folkmoot.ledger.statements import Domain

NAME = "a moot"
VOUCHER = b"\x77" * 32
TERMS = (3, 2, 3, 60, 30, 90, 0)
"""rounds, min_members, start_members, train_seconds, exchange_seconds, final_seconds"""
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@cache
def deployer() -> Any:
    return boa.load_partial(str(build.SOURCE))


@cache
def key(number: int) -> bytes:
    """The private key of member, or would-be member, ``number``."""
    return (0xF01C + number).to_bytes(32, "big")


@cache
def account(number: int) -> str:
    return statements.address_of(key(number))


def bits(members: Iterable[int]) -> int:
    return sum(1 << member for member in members)


def fields(number: int) -> tuple[Any, ...]:
    """name, endpoint, exchange key, binding, addresses"""
    mark = number.to_bytes(2, "big")
    return (f"member {number}", mark + b"\x01" * 30, mark + b"\x02" * 30, b"\x03" * 64, f"10.0.0.{number}:9")


def other_half(signature: bytes) -> bytes:
    """The same signature's mirror image, which a careless contract would take for a second one."""
    s = ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])


class World:
    """A moot of ``members``, numbered as they joined; ``seats`` is that number unless told otherwise."""

    def __init__(self, members: int, seats: int | None = None) -> None:
        self.moot = boa_deploy(seats or members)
        self.domain = Domain(boa.env.evm.patch.chain_id, self.moot.address)
        for number in range(1, members):
            self.join(number)

    def join(self, number: int, voucher: bytes = VOUCHER) -> None:
        self.call("join", number, *fields(number), self.voucher(number, voucher))

    def voucher(self, number: int, voucher: bytes = VOUCHER) -> bytes:
        return statements.sign(voucher, statements.voucher_digest(self.domain, account(number)))

    def call(self, name: str, sender: int, *arguments: Any) -> Any:
        return getattr(self.moot, name)(*arguments, sender=account(sender))

    def start(self, granting: Iterable[int] = (0, 1, 2), terms: tuple[int, ...] = TERMS) -> int:
        """Propose a task and grant for it; its id."""
        task: int = self.call("propose", 0, b"\xb0" * 32, b"\x90" * 32, terms)
        for member in granting:
            self.grant(member, task)
        return task

    def grant(self, member: int, task: int) -> None:
        self.call("grant", member, task, self.call("describe", member, b"\xcc" * 32, 100), 0)

    def view(self, task: int) -> Any:
        return self.moot.round_view(task)

    def commit(self, task: int, *members: int) -> None:
        at = self.view(task)
        for member in members:
            self.call("commit", member, task, at.round, at.attempt, commitment(member, at.attempt))

    def holdings(self, task: int, held: Mapping[int, int], attempt: int | None = None) -> tuple[Any, ...]:
        """Arguments of ``freeze``, signed: voter -> bitmap of contributors it holds."""
        at = self.view(task)
        attempt = at.attempt if attempt is None else attempt
        signatures = [
            statements.sign(key(voter), statements.holding_digest(self.domain, task, at.round, attempt, held[voter]))
            for voter in sorted(held)
        ]
        bitmaps = [held[voter] for voter in sorted(held)]
        return task, at.round, at.attempt, bits(held), bitmaps, b"".join(signatures)

    def freeze(self, task: int, voters: Iterable[int]) -> None:
        """With everyone holding all that was committed."""
        committed = self.view(task).committed
        self.call("freeze", 0, *self.holdings(task, dict.fromkeys(voters, committed)))

    def final(self, task: int, signers: Iterable[int], model: bytes = b"\x4d" * 32) -> tuple[Any, ...]:
        """Arguments of ``finalise``, signed."""
        at = self.view(task)
        outcome = (b"\x11" * 32, b"\x22" * 32, model)
        digest = statements.model_digest(
            self.domain, task, at.round, at.attempt, at.parent, *outcome, survivors=at.survivors
        )
        joined = b"".join(statements.sign(key(signer), digest) for signer in sorted(signers))
        return task, at.round, at.attempt, *outcome, bits(signers), joined

    def expulsion(
        self, task: int, member: int, signers: Iterable[int], evidence: bytes = b"\xee" * 32
    ) -> tuple[Any, ...]:
        """Arguments of ``expel``, signed."""
        digest = statements.expulsion_digest(self.domain, task, member, evidence)
        joined = b"".join(statements.sign(key(signer), digest) for signer in sorted(signers))
        return task, member, evidence, bits(signers), joined

    def finish_round(self, task: int, members: Iterable[int], model: bytes = b"\x4d" * 32) -> None:
        """Commit, freeze and finalise, all by ``members``."""
        members = list(members)
        self.commit(task, *members)
        self.freeze(task, members)
        self.call("finalise", 0, *self.final(task, members, model))


def boa_deploy(seats: int) -> Any:
    with boa.env.prank(account(0)):
        return deployer().deploy(NAME, seats, statements.address_of(VOUCHER), *fields(0))


def commitment(member: int, attempt: int = 0) -> bytes:
    return bytes([0xC0, member, attempt]) + b"\xee" * 29


def later(seconds: int) -> None:
    boa.env.time_travel(seconds=seconds)
