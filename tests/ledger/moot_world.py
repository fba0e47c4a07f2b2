"""A moot's contracts on a chain of the test's own, with members whose keys are known: what contract tests stand on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from contracts import CHAIN, Chain, Log

from folkmoot.ledger import statements
from folkmoot.ledger.address import created_address
from folkmoot.ledger.motions import Kind
from folkmoot.ledger.records import Standing
from folkmoot.ledger.statements import Domain

NAME = "a moot"
VOUCHER = b"\x77" * 32
TERMS = (3, 2, 3, 60, 30, 90, 0)
"""rounds, min_members, start_members, three windows in seconds, whether it is sealed"""
RULES = (50, 66, 1000)
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
FRESH = 1000
"""Numbers from here on are accounts of nobody yet."""


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
    return (f"member {number}", *keys_of(number), f"10.0.0.{number % 256}:9")


def keys_of(number: int) -> tuple[bytes, bytes, bytes]:
    """endpoint, exchange key, binding"""
    mark = number.to_bytes(2, "big")
    return mark + b"\x01" * 30, mark + b"\x02" * 30, b"\x03" * 64


def other_half(signature: bytes) -> bytes:
    """The same signature's mirror image, which a careless contract would take for a second one."""
    s = ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])


class World:
    """A moot of ``members``, numbered as they joined; ``seats`` is that number unless told otherwise.

    ``delegates`` has for each member that delegates the number whose key it uses day by day.
    """

    def __init__(
        self,
        members: int,
        seats: int | None = None,
        *,
        rules: tuple[int, int, int] = RULES,
        elders: Sequence[str] = (),
        heritage: bytes = bytes(32),
    ) -> None:
        self.chain = Chain()
        founder = account(0)
        at = [created_address(founder, ahead) for ahead in range(4)]
        fixed = (NAME, seats or members, statements.address_of(VOUCHER), heritage, list(elders), at[2], list(rules))
        made = [
            self.chain.deploy(founder, "Moot", at[1]),
            self.chain.deploy(founder, "Assembly", at[0], *fixed, *fields(0)),
            self.chain.deploy(founder, "Purse", at[0], at[1], at[3]),
            self.chain.deploy(founder, "Points", at[2]),
        ]
        assert made == at
        self.moot, self.assembly, self.purse, self.points = made
        self.domain = Domain(CHAIN, self.moot)
        self.delegates: dict[int, int] = {}
        for number in range(1, members):
            self.join(number)

    # ---- calls

    def call(self, name: str, sender: int, *arguments: Any) -> Any:
        """A call of the moot's, or of the assembly's where the moot has none of that name."""
        at = self.moot if name in self.chain.contracts[self.moot].functions else self.assembly
        return self.chain.call(account(sender), at, name, *arguments)

    def read(self, name: str, *arguments: Any) -> Any:
        return self.chain.read(self.moot, name, *arguments)

    def ask(self, name: str, *arguments: Any) -> Any:
        """Read from the assembly."""
        return self.chain.read(self.assembly, name, *arguments)

    def event(self, name: str) -> Any:
        """The fields of the last transaction's event of this name."""
        return next(log.fields for log in self.chain.logs if log.name == name)

    def events(self) -> list[Log]:
        return self.chain.logs

    def later(self, seconds: int) -> None:
        self.chain.later(seconds)

    @property
    def now(self) -> int:
        return self.chain.time

    # ---- members and what they decide

    def join(self, number: int, voucher: bytes = VOUCHER) -> None:
        self.call("join", number, *fields(number), self.voucher(number, voucher))

    def voucher(self, number: int, voucher: bytes = VOUCHER) -> bytes:
        domain = Domain(CHAIN, self.assembly)
        return statements.sign(voucher, statements.voucher_digest(domain, account(number)))

    def delegate(self, member: int, number: int) -> None:
        """Put the account and keys of ``number`` in daily use for ``member``."""
        self.call("delegate", member, *self.daily(number, account(member)))
        self.delegates[member] = number

    def daily(self, number: int, main: str, keys: int | None = None) -> tuple[Any, ...]:
        """Arguments of ``delegate``: the account of ``number``, which agrees, and its keys unless told otherwise."""
        digest = statements.delegation_digest(Domain(CHAIN, self.assembly), main)
        consent = b"" if account(number) == main else statements.sign(key(number), digest)
        return account(number), *keys_of(number if keys is None else keys), consent

    def move(self, kind: Kind, *words: int, mover: int = 0) -> int:
        padded = [*words, *(0 for _ in range(3 - len(words)))]
        motion: int = self.call("move", mover, int(kind), padded, bytes(32))
        return motion

    def decide(self, kind: Kind, *words: int, voters: Iterable[int] | None = None) -> int:
        """Move, vote (all living members whose main account is theirs, unless told otherwise) and enact."""
        living = self.read("living")
        everyone = [m for m in range(living.bit_length()) if living >> m & 1]
        chosen = everyone if voters is None else list(voters)
        motion = self.move(kind, *words, mover=chosen[0])
        for voter in chosen[1:]:
            self.call("vote", voter, motion, 1)
        self.call("enact", chosen[0], motion)
        return motion

    def steer(self, task: int, standing: Standing) -> None:
        self.decide(Kind.STEER, task, int(standing))

    def remove(self, member: int) -> None:
        self.decide(Kind.REMOVE, member)

    # ---- tasks and grants

    def propose(self, terms: tuple[int, ...] = TERMS, sender: int = 0) -> int:
        task: int = self.call("propose", sender, b"\xb0" * 32, b"\x90" * 32, terms)
        return task

    def start(self, granting: Iterable[int] = (0, 1, 2), terms: tuple[int, ...] = TERMS) -> int:
        """Propose a task, adopt it and grant for it; its id."""
        task = self.propose(terms)
        self.steer(task, Standing.ADOPTED)
        for member in granting:
            self.grant(member, task)
        return task

    def describe(self, member: int) -> int:
        dataset: int = self.call("describe", member, b"\xcc" * 32, bytes(32), bytes(32), 100)
        return dataset

    def grant(self, member: int, task: int, until: int = 0, rounds: int = 0) -> None:
        self.call("grant", member, task, self.describe(member), 0, until, rounds)

    # ---- rounds

    def view(self, task: int) -> Any:
        return self.read("round_view", task)

    def commit(self, task: int, *members: int) -> None:
        at = self.view(task)
        for member in members:
            self.call(
                "commit", self.delegates.get(member, member), task, at.round, at.attempt, commitment(member, at.attempt)
            )

    def commits(self, task: int, *members: int) -> tuple[Any, ...]:
        """Arguments of ``commit_all``, signed."""
        at = self.view(task)
        where = (task, at.round, at.attempt)
        hashes = {member: commitment(member, at.attempt) for member in sorted(members)}
        return *where, bits(members), list(hashes.values()), self.signed_commits(where, hashes)

    def signed_commits(self, where: tuple[int, int, int], hashes: Mapping[int, bytes]) -> bytes:
        digests = {m: statements.commit_digest(self.domain, *where, hashes[m]) for m in sorted(hashes)}
        return b"".join(self.sign(m, digest) for m, digest in digests.items())

    def sign(self, member: int, digest: bytes) -> bytes:
        return statements.sign(key(self.delegates.get(member, member)), digest)

    def holdings(self, task: int, held: Mapping[int, int], attempt: int | None = None) -> tuple[Any, ...]:
        """Arguments of ``freeze``, signed: voter -> bitmap of contributors it holds."""
        at = self.view(task)
        attempt = at.attempt if attempt is None else attempt
        signatures = [
            self.sign(voter, statements.holding_digest(self.domain, task, at.round, attempt, held[voter]))
            for voter in sorted(held)
        ]
        bitmaps = [held[voter] for voter in sorted(held)]
        return task, at.round, at.attempt, bits(held), bitmaps, b"".join(signatures)

    def openings(self, task: int, opened: Mapping[int, int], survivors: int | None = None) -> tuple[Any, ...]:
        """Arguments of ``freeze`` for an attempt that is frozen: voter -> whose masks it can take off."""
        at = self.view(task)
        base = at.survivors if survivors is None else survivors
        where = (self.domain, task, at.round, at.attempt, base)
        signatures = [self.sign(v, statements.opening_digest(*where, opened[v])) for v in sorted(opened)]
        return task, at.round, at.attempt, bits(opened), [opened[v] for v in sorted(opened)], b"".join(signatures)

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
        joined = b"".join(self.sign(signer, digest) for signer in sorted(signers))
        return task, at.round, at.attempt, *outcome, bits(signers), joined

    def expulsion(
        self, task: int, member: int, signers: Iterable[int], evidence: bytes = b"\xee" * 32
    ) -> tuple[Any, ...]:
        """Arguments of ``expel``, signed."""
        digest = statements.expulsion_digest(self.domain, task, member, evidence)
        joined = b"".join(self.sign(signer, digest) for signer in sorted(signers))
        return task, member, evidence, bits(signers), joined

    def finish_round(
        self, task: int, members: Iterable[int], model: bytes = b"\x4d" * 32, signers: Iterable[int] | None = None
    ) -> None:
        """All of ``members`` commit, and ``signers``, who are the same unless told otherwise, sign."""
        members = list(members)
        signers = members if signers is None else list(signers)
        self.call("commit_all", 0, *self.commits(task, *members))
        if self.view(task).closed_at == 0:
            self.later(self.view(task).commit_deadline - self.now)
        self.freeze(task, signers)
        self.call("finalise", 0, *self.final(task, signers, model))


def commitment(member: int, attempt: int = 0) -> bytes:
    return bytes([0xC0, member, attempt]) + b"\xee" * 29
