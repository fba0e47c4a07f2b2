"""The typed client of a moot: reads give values of ``records``, writes return once they stand on the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from folkmoot.errors import ChainError, LedgerRefused, LocalError
from folkmoot.ledger import abi
from folkmoot.ledger.address import checksum_address
from folkmoot.ledger.chain import Chain, Log
from folkmoot.ledger.records import (
    Commit,
    Dataset,
    Expulsion,
    Final,
    Grant,
    JoinFields,
    Member,
    MootRecord,
    RoundView,
    TaskRecord,
    Terms,
    bitmap_of,
)
from folkmoot.ledger.signer import Keyed
from folkmoot.ledger.statements import Domain, sign, voucher_digest
from folkmoot.ledger.transact import Sender

if TYPE_CHECKING:
    from web3 import Web3

__all__ = ["Moot"]

_Row = TypeVar("_Row")
MILLION = 1_000_000


class Moot:
    """One moot, reached through ``chain``; ``signer`` pays for and signs its transactions, and may be left out to read.

    ``chain`` is what ``open_chain`` gives, or any ``Web3``.

    Every method raises ``ChainError`` when the chain cannot be reached or holds no such contract, and
    ``LedgerRefused`` with the contract's reason when it refuses. Reads ask the chain each time. Writes wait until
    the transaction stands in a block; one thread at a time gets to send.
    """

    def __init__(self, chain: Chain | Web3, address: str, signer: Keyed | None = None) -> None:
        self.address: str = checksum_address(address)
        self._chain = chain if isinstance(chain, Chain) else Chain(chain)
        self._sender = None if signer is None else Sender(self._chain, signer)
        self._index: int | None = None
        self._seen: dict[tuple[int, int], int] = {}

    @classmethod
    def deploy(
        cls, chain: Chain | Web3, signer: Keyed, *, name: str, seats: int, voucher: str, founder: JoinFields
    ) -> Moot:
        """Found a moot. The account of ``signer`` becomes member 0.

        ``voucher`` is the address of the key whose signature admits members until there are ``seats``.
        """
        what = abi.encode_constructor(_name(name), seats, checksum_address(voucher), *_fields(founder))
        reached = chain if isinstance(chain, Chain) else Chain(chain)
        sender = Sender(reached, signer)
        receipt = sender.receipt(sender.send(None, what))
        if receipt.contract is None:
            raise ChainError("the chain gave no address for the new moot")
        return cls(reached, receipt.contract, signer)

    # ---- the chain -----------------------------------------------------------------------------------------

    @property
    def chain_id(self) -> int:
        """The chain's id, part of every signed statement."""
        return self._chain.id

    @property
    def embedded(self) -> bool:
        """Whether the chain is an embedded one: it answers within microseconds, and what it took is final."""
        return self._chain.embedded

    @cached_property
    def domain(self) -> Domain:
        """Where this moot's statements count; for ``statements``."""
        return Domain(self._chain.id, self.address)

    def now(self) -> float:
        """Ledger time, in seconds."""
        return self._chain.now()

    def head(self) -> int:
        """The number of the newest block: when it has not changed, nothing else has."""
        return self._chain.head()

    # ---- members -------------------------------------------------------------------------------------------

    def about(self) -> MootRecord:
        """What was fixed when the moot was founded."""
        return self._about

    @cached_property
    def _about(self) -> MootRecord:
        return abi.decode_about(self._call("about"))

    def name(self) -> str:
        """What the moot is called."""
        return self._about.name

    def member_count(self) -> int:
        """How many members there are."""
        return self._counts()[0]

    def members(self) -> tuple[Member, ...]:
        """All members, ascending by index."""
        return tuple(self._pages(0, lambda start: abi.decode_members(start, self._call("members", start))))

    def me(self) -> Member | None:
        """The signer as a member; ``None`` if it is not one."""
        if self._sender is None:
            return None
        if self._index is None:
            (number,) = abi.words(self._call("number_of", self._sender.address), 1)
            if number == 0:
                return None
            self._index = number - 1
        return abi.decode_members(self._index, self._call("members", self._index))[0]

    def join(self, fields: JoinFields, voucher_key: bytes) -> None:
        """Become a member, admitted by the voucher whose private key (32 bytes) this is."""
        signature = sign(voucher_key, voucher_digest(self.domain, self._writer.address))
        self._send("join", *_fields(fields), signature)

    def invite(self, voucher: str) -> bool:
        """Vote that the holder of the key behind the address ``voucher`` may join; whether it may, with this vote."""
        log = self._event(abi.INVITED, self._send("invite", checksum_address(voucher)))
        return abi.words(log.data, 1) == [1]

    def announce(self, addresses: Sequence[str]) -> None:
        """Say where the signer's peer can be reached, each as ``host:port``."""
        self._send("announce", _hints(addresses))

    # ---- datasets, tasks, consent ----------------------------------------------------------------------------

    def datasets(self) -> tuple[Dataset, ...]:
        """All described datasets, ascending by id."""
        return tuple(self._pages(1, lambda start: abi.decode_datasets(start, self._call("datasets", start))))

    def dataset(self, id: int) -> Dataset:
        """One dataset. Raises ``LedgerRefused`` when there is none of that id."""
        return self._one("dataset", id, abi.decode_datasets(id, self._call("datasets", id)))

    def describe(self, card: bytes, records: int) -> int:
        """Describe a dataset of the signer's: the hash (32 bytes) of its card, and about how many records. Its id."""
        return self._id(abi.DESCRIBED, self._send("describe", card, records))

    def tasks(self) -> tuple[TaskRecord, ...]:
        """All proposed tasks, ascending by id."""
        return tuple(self._pages(1, lambda start: abi.decode_tasks(self._call("tasks", start))))

    def task(self, id: int) -> TaskRecord:
        """One task. Raises ``LedgerRefused`` when there is none of that id."""
        return self._one("task", id, abi.decode_tasks(self._call("tasks", id)))

    def propose(self, bundle: bytes, genesis: bytes, policy: Terms) -> int:
        """Propose a task: the hashes (32 bytes each) of its bundle and first state, and its policy. Its id."""
        terms = (
            policy.rounds,
            policy.min_members,
            policy.start,
            policy.train_seconds,
            policy.exchange_seconds,
            policy.final_seconds,
            int(policy.secret),
        )
        return self._id(abi.PROPOSED, self._send("propose", bundle, genesis, terms))

    def grant_of(self, task: int, member: int) -> Grant | None:
        """The dataset that ``member`` lets ``task`` use, and its limit; ``None`` without a live grant."""
        dataset, millionths = abi.words(self._call("grant_of", task, member), 2)
        return Grant(dataset, millionths / MILLION if millionths else None) if dataset else None

    def grant(self, task: int, dataset: int, epsilon: float | None = None) -> None:
        """Consent that the signer's ``dataset`` serves ``task``, and spends at most ``epsilon`` of its privacy.

        Raises ``LedgerRefused`` when epsilon is not a number from a millionth to 2**40; it is kept in millionths.
        """
        if epsilon is not None and not 1 / MILLION <= epsilon <= 2**40:
            raise LedgerRefused(f"epsilon is {epsilon}; a limit is a number from a millionth up")
        self._send("grant", task, dataset, 0 if epsilon is None else int(epsilon * MILLION))

    def revoke(self, task: int) -> None:
        """Withdraw the signer's grant for ``task``."""
        self._send("revoke", task)

    def attend(self, task: int) -> None:
        """Ask that the next round or attempt waits for the signer."""
        self._send("attend", task)

    # ---- rounds --------------------------------------------------------------------------------------------

    def round_view(self, task: int) -> RoundView:
        """Everything about the round being made."""
        return abi.decode_round_view(task, self._call("round_view", task))

    def commit(self, task: int, round: int, attempt: int, hash: bytes) -> None:
        """Commit to a contribution by its salted hash (32 bytes)."""
        self._send("commit", task, round, attempt, hash)

    def freeze(self, task: int, round: int, attempt: int, holdings: Mapping[int, tuple[int, bytes]]) -> None:
        """Fix the survivors by what a quorum attests; in a sealed attempt that is frozen, leave some out.

        ``holdings``: for each member that attests, the bitmap of contributors it holds, and its 65 bytes under
        ``statements.holding_digest``; or of survivors whose masks it can take off, under ``statements.opening_digest``.
        """
        voters = sorted(holdings)
        bitmaps = [holdings[member][0] for member in voters]
        signatures = b"".join(holdings[member][1] for member in voters)
        self._send("freeze", task, round, attempt, bitmap_of(voters), bitmaps, signatures)

    def finalise(
        self,
        task: int,
        round: int,
        attempt: int,
        inputs: bytes,
        aggregate: bytes,
        model: bytes,
        signatures: Mapping[int, bytes],
    ) -> None:
        """Make the round final by a quorum's word on its outcome.

        ``signatures``: for each member that signs, its 65 bytes under ``statements.model_digest``. The hashes have
        32 bytes each.
        """
        signers = sorted(signatures)
        joined = b"".join(signatures[member] for member in signers)
        hashes = (inputs, aggregate, model)
        self._send("finalise", task, round, attempt, *hashes, bitmap_of(signers), joined)

    def retry(self, task: int, round: int, attempt: int) -> None:
        """Give up an attempt that is past its final deadline, or past its commit deadline while someone with a
        grant stands outside its snapshot; the next one opens."""
        self._send("retry", task, round, attempt)

    def expel(self, task: int, member: int, evidence: bytes, signatures: Mapping[int, bytes]) -> None:
        """Bar a member from a task's later rounds by a quorum's word.

        ``signatures``: for each member that signs, its 65 bytes under ``statements.expulsion_digest``.
        """
        signers = sorted(signatures)
        self._send("expel", task, member, evidence, bitmap_of(signers), b"".join(signatures[m] for m in signers))

    def expulsions(self, task: int) -> list[Expulsion]:
        """Everyone who was barred from ``task``, in the order of the ledger."""
        return [abi.decode_expulsion(*log) for log in self._logs(abi.EXPELLED, task, self._about.born)]

    def finals(self, task: int, from_round: int = 1) -> list[Final]:
        """The records of the finished rounds, ascending, from ``from_round`` on.

        Raises ``ChainError`` when the chain's events leave a round out.
        """
        seen = [(round, block) for (of, round), block in self._seen.items() if of == task and round <= from_round]
        anchor, first = max(seen, default=(0, self._about.born))
        found = self._finals(task, first)
        if anchor and (not found or found[0].round != anchor):
            # what was seen in that block stands in another one since: the chain reorganised
            found = self._finals(task, self._about.born)
        self._seen.update({(task, final.round): final.block for final in found})
        wanted = [final for final in found if final.round >= from_round]
        if [final.round for final in wanted] != list(range(from_round, from_round + len(wanted))):
            raise ChainError(f"the chain's events leave out finished rounds of task {task}; use a full node")
        return wanted

    def _finals(self, task: int, first: int) -> list[Final]:
        return [abi.decode_final(*log) for log in self._logs(abi.FINALISED, task, first)]

    def commits_log(self, task: int) -> list[Commit]:
        """Every commit ever made for ``task``, of abandoned attempts too, in the order of the ledger."""
        return [abi.decode_commit(*log) for log in self._logs(abi.COMMITTED, task, self._about.born)]

    # ---- underneath ----------------------------------------------------------------------------------------

    @property
    def _writer(self) -> Sender:
        if self._sender is None:
            raise LocalError("this view of the moot has no key to sign transactions with")
        return self._sender

    def _call(self, name: str, *arguments: object) -> bytes:
        return self._chain.call(self.address, abi.encode_call(name, *arguments))

    def _send(self, name: str, *arguments: object) -> str:
        return self._writer.send(self.address, abi.encode_call(name, *arguments))

    def _counts(self) -> list[int]:
        return abi.words(self._call("counts"), 3)

    def _logs(self, event: bytes, task: int, first: int) -> list[Log]:
        return self._chain.logs(self.address, [event, abi.word(task)], first)

    def _event(self, event: bytes, transaction: str) -> Log:
        """What a call gave out; from its event, for between a dry run and the block others may have come first."""
        for log in self._writer.receipt(transaction).logs:
            if log.topics[0] == event:
                return log
        raise ChainError(f"the transaction left no event; is {self.address} a moot?")

    def _id(self, event: bytes, transaction: str) -> int:
        return int.from_bytes(self._event(event, transaction).topics[1], "big")

    @staticmethod
    def _pages(start: int, page: Callable[[int], Sequence[_Row]]) -> Iterator[_Row]:
        while rows := page(start):
            yield from rows
            if len(rows) < abi.PAGE:
                return
            start += len(rows)

    @staticmethod
    def _one(kind: str, id: int, rows: Sequence[_Row]) -> _Row:
        if not rows:
            raise LedgerRefused(f"the moot has no {kind} {id}")
        return rows[0]


def _fields(fields: JoinFields) -> tuple[object, ...]:
    return (
        _name(fields.name),
        fields.endpoint,
        fields.exchange,
        fields.binding,
        _hints(fields.addresses),
    )


def _name(name: str) -> str:
    if not 1 <= len(name.encode()) <= 64:
        raise LedgerRefused(f"the name {name!r} has {len(name.encode())} bytes; use 1 to 64")
    return name


def _hints(addresses: Sequence[str]) -> str:
    hints = ",".join(addresses)
    if len(hints.encode()) > 512:
        raise LedgerRefused(f"{len(addresses)} addresses take {len(hints.encode())} bytes; give fewer, 512 in all")
    return hints
