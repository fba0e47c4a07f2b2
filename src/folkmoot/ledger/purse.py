"""The typed client of a moot's purse: what is set aside for its tasks, the scores that split it, what is paid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from folkmoot.errors import LedgerRefused
from folkmoot.keccak import keccak
from folkmoot.ledger.address import checksum_address
from folkmoot.ledger.contract import Contract
from folkmoot.ledger.interface import Interface, answer, word, words
from folkmoot.ledger.records import bitmap_of

__all__ = ["MOST_SCORES", "POINTS", "PURSE", "SEASON", "Pot", "Purse", "Settled", "seal_of"]

PURSE = Interface("Purse")
POINTS = Interface("Points")
"""The interface of any ERC-20, and the moot's own."""

MOST_SCORES = 16_384
"""Bytes of one member's scores for one season."""
SEASON = 100
"""Rounds of a season: scores are told after each of them, and once a task is done."""


@dataclass(frozen=True)
class Pot:
    """What is set aside for one task in one token, in units of it."""

    token: str
    funded: int
    released: int
    """Split already, claimed or not."""
    last: int
    """The last round it was split for."""


@dataclass(frozen=True)
class Settled:
    """The record of one payment out of a pot, from its event."""

    task: int
    token: str
    first: int
    last: int
    amount: int
    weights: tuple[int, ...]
    signers: int
    block: int

    @property
    def parts(self) -> tuple[int, ...]:
        """What each member got, by index: differences of cumulative sums, rounded down, as the contract has them."""
        total, upto, paid = sum(self.weights), 0, []
        for weight in self.weights:
            before = self.amount * upto // total
            upto += weight
            paid.append(self.amount * upto // total - before)
        return tuple(paid)


def seal_of(member: int, salt: bytes, scores: bytes) -> bytes:
    """32 bytes that fix a member's scores before it shows them; ``salt`` is 32 random bytes."""
    if len(salt) != 32:
        raise ValueError("a seal takes 32 bytes of salt")
    return keccak(word(member) + salt + scores)


class Purse(Contract):
    """One moot's purse, reached as its ``Moot`` is; ``Moot.purse`` makes it. Errors are as there."""

    interface = PURSE

    @cached_property
    def points(self) -> str:
        """Address of the moot's own points."""
        return str(answer(["address"] * 3, self._call("about"))[2])

    @property
    def belongs_to(self) -> tuple[str, str]:
        """Addresses of the contracts of a moot's work and of its members."""
        moot, assembly, _ = answer(["address"] * 3, self._call("about"))
        return moot, assembly

    # ---- pots ----------------------------------------------------------------------------------------------

    def pot(self, task: int, token: str) -> Pot:
        """What is set aside for a task in one token."""
        return Pot(token, *words(self._call("pot", task, token), 3))

    def pots(self, task: int, born: int) -> list[Pot]:
        """What is set aside for a task, in whatever tokens; ``born`` is the moot's first block."""
        return [self.pot(task, token) for token in self.funders(task, born)]

    def funders(self, task: int, born: int) -> dict[str, set[str]]:
        """For each token in which something was set aside for a task since block ``born``, the accounts that did."""
        found: dict[str, set[str]] = {}
        for log in self._chain.logs(self.address, [PURSE.topics["Funded"], word(task)], born):
            token, funder = (checksum_address(topic[12:]) for topic in log.topics[2:4])
            found.setdefault(token, set()).add(funder)
        return found

    def fund(self, task: int, token: str, amount: int) -> None:
        """Set aside units of an ERC-20 that the signer has."""
        self._writer.send(token, POINTS.call("approve", self.address, amount))
        self._send("fund", task, token, amount)

    def reclaim(self, task: int, token: str) -> None:
        """Take back what the signer set aside for a task that was stopped before any round was final."""
        self._send("reclaim", task, token)

    def owed(self, token: str, member: int) -> int:
        """What a member has earned and not claimed."""
        return words(self._call("owed", token, member), 1)[0]

    def balance(self, token: str, account: str) -> int:
        """Units of an ERC-20 that an account has."""
        return words(self._chain.call(token, POINTS.call("balanceOf", account)), 1)[0]

    def claim(self, token: str, member: int) -> None:
        """Have a member paid what it has earned."""
        self._send("claim", token, member)

    # ---- scores and splits ---------------------------------------------------------------------------------

    def sealing(self, task: int, last: int) -> int:
        """Ledger seconds at which the sealing of scores up to round ``last`` ends; 0 when nobody has begun it."""
        return words(self._call("sealing", task, last), 1)[0]

    def seal(self, task: int, last: int, seal: bytes) -> None:
        """Fix the signer's scores: ``seal`` is ``seal_of`` them."""
        self._send("seal", task, last, seal)

    def unseal(self, task: int, last: int, salt: bytes, scores: bytes) -> None:
        """Show the signer's scores, once sealing is over."""
        if len(scores) > MOST_SCORES:
            raise LedgerRefused(f"scores of {len(scores)} bytes; the ledger takes {MOST_SCORES}: settle more often")
        self._send("unseal", task, last, salt, scores)

    def seals(self, task: int, last: int, born: int) -> dict[int, bytes]:
        """For each member that has sealed scores up to round ``last``, the seal."""
        logs = self._chain.logs(self.address, [PURSE.topics["Sealed"], word(task), word(last)], born)
        return {int.from_bytes(log.topics[3], "big"): log.data[:32] for log in logs}

    def unsealed(self, task: int, last: int, born: int, before: int | None = None) -> dict[int, bytes]:
        """For each member that has shown its scores up to round ``last``, these; with ``before`` only what stands in
        blocks whose time, in ledger seconds, is earlier."""
        logs = self._chain.logs(self.address, [PURSE.topics["Unsealed"], word(task), word(last)], born)
        if before is not None:
            logs = [log for log in logs if self._chain.block_time(log.block) < before]
        return {int.from_bytes(log.topics[3], "big"): answer(["bytes"], log.data)[0] for log in logs}

    def newest_time(self) -> int:
        """The time of the newest block, in seconds: none that comes later has an earlier one."""
        return self._chain.newest_time()

    def mark(self) -> None:
        """Have a block made, of an empty transaction to the signer itself: it shows everybody that its time has come.
        For embedded chains, where no block is made of itself."""
        self._writer.send(self._writer.address, b"")

    def settle(self, task: int, token: str, last: int, weights: Sequence[int], signatures: Mapping[int, bytes]) -> None:
        """Split what is due between members by a quorum's word.

        ``weights``: for each member by index; ``signatures``: for each member that signs, its 65 bytes under
        ``statements.split_digest``.
        """
        signers = sorted(signatures)
        joined = b"".join(signatures[member] for member in signers)
        self._send("settle", task, token, last, list(weights), bitmap_of(signers), joined)

    def settlements(self, task: int, born: int) -> list[Settled]:
        """All payments out of a task's pots, in the order of the ledger."""
        found = []
        for log in self._chain.logs(self.address, [PURSE.topics["Settled"], word(task)], born):
            first, last, amount, weights, signers = answer(["uint256"] * 3 + ["uint256[]", "uint256"], log.data)
            token = checksum_address(log.topics[2][12:])
            found.append(Settled(task, token, first, last, amount, weights, signers, log.block))
        return found
