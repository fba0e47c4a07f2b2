"""The typed client of a moot: reads give values of ``records``, writes return once they stand on the ledger."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from folkmoot.errors import ChainError, LedgerRefused
from folkmoot.ledger import abi, deployment
from folkmoot.ledger.abi import MOOT
from folkmoot.ledger.address import checksum_address
from folkmoot.ledger.assembly import Assembly
from folkmoot.ledger.birth import birth_of
from folkmoot.ledger.chain import Chain, Log, Placed
from folkmoot.ledger.contract import Contract
from folkmoot.ledger.interface import word, words
from folkmoot.ledger.motions import Rules
from folkmoot.ledger.pages import pages
from folkmoot.ledger.purse import Purse
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
    Seated,
    Standing,
    TaskRecord,
    Terms,
    bitmap_of,
    called,
    members_of,
)
from folkmoot.ledger.signer import Keyed
from folkmoot.ledger.transact import Sender
from folkmoot.ledger.witness import Call, signed_call

if TYPE_CHECKING:
    from web3 import Web3

__all__ = ["Moot"]

_Row = TypeVar("_Row")


class Moot(Contract):
    """One moot, reached through ``chain``; ``signer`` pays for and signs its transactions, and may be left out to read.

    ``chain`` is what ``open_chain`` gives, or any ``Web3``.

    Every method raises ``ChainError`` when the chain cannot be reached or holds no such contract, and
    ``LedgerRefused`` with the contract's reason when it refuses. Reads ask the chain each time. Writes wait until
    the transaction stands in a block; one thread at a time gets to send.
    """

    interface = MOOT

    def __init__(self, chain: Chain | Web3, address: str, signer: Keyed | None = None) -> None:
        reached = chain if isinstance(chain, Chain) else Chain(chain)
        super().__init__(reached, address, None if signer is None else Sender(reached, signer))
        self._epoch = 0
        """The chain's when the following was read."""
        self._renumbered = False
        """Whether contracts see other block numbers than the chain's nodes have; known once ``about`` was read."""
        self._seen: dict[tuple[int, int], int] = {}
        self._stopped: dict[int, tuple[TaskRecord, ...]] = {}
        """Pages of tasks that are all stopped, by the id of the first."""
        self._commits: dict[int, tuple[tuple[int, int, int, int], tuple[bytes, ...]]] = {}
        """For each task the attempt and bitmap that its commits were last read for, and these."""

    @classmethod
    def deploy(
        cls,
        chain: Chain | Web3,
        signer: Keyed,
        *,
        name: str,
        seats: int,
        voucher: str,
        founder: JoinFields,
        rules: Rules | None = None,
        heritage: bytes = bytes(32),
        elders: Sequence[str] = (),
    ) -> Moot:
        """Found a moot. The account of ``signer`` becomes member 0.

        ``voucher`` is the address of the key whose signature admits members until there are ``seats``. One that
        continues another moot names the hash of its state (32 bytes) and the accounts of its members, ``elders``.
        """
        reached = chain if isinstance(chain, Chain) else Chain(chain)
        address = deployment.deploy(
            reached,
            Sender(reached, signer),
            name=name,
            seats=seats,
            voucher=voucher,
            founder=founder,
            rules=rules or Rules(),
            heritage=heritage,
            elders=elders,
        )
        return cls(reached, address, signer)

    # ---- the chain -----------------------------------------------------------------------------------------

    @property
    def chain_id(self) -> int:
        """The chain's id, part of every signed statement."""
        return self._chain.id

    @property
    def embedded(self) -> bool:
        """Whether the chain is an embedded one: it answers within microseconds, and what it took is final."""
        return self._chain.embedded

    def now(self) -> float:
        """Ledger time, in seconds."""
        return self._chain.now()

    def head(self) -> int:
        """The number of the newest block: when it has not changed, nothing else has."""
        return self._chain.head()

    def history(self) -> list[Placed]:
        """Every event of the moot's contracts since its founding, in the order of the ledger, each with its place."""
        about = self._about
        return self._chain.history([self.address, about.assembly, about.purse], about.born)

    def block_time(self, number: int) -> int:
        """The time of a block, in seconds."""
        return self._chain.block_time(number)

    def signed_call(self, transaction: bytes) -> Call:
        """What a transaction (its hash, 32 bytes) asked for, and who signed it, whatever the node says.

        Raises ``IntegrityError`` when the node tells another one.
        """
        told = self._chain.rpc("eth_getTransactionByHash", "0x" + transaction.hex())
        return signed_call(told, transaction, self._chain.id)

    # ---- members -------------------------------------------------------------------------------------------

    def about(self) -> MootRecord:
        """What was fixed when the moot was founded."""
        return self._about

    @property
    def _about(self) -> MootRecord:
        self._forget_what_was_taken_back()
        return self._founding

    @cached_property
    def _founding(self) -> MootRecord:
        seen, _ = words(self._call("about"), 2)
        born = birth_of(self._chain, self.address, abi.SEATED, seen)
        self._renumbered = born != seen
        told = self.assembly.about
        if told.moot != self.address:
            raise ChainError(f"the assembly of {self.address} says that it is another moot's, {told.moot}")
        at = (self.assembly.address, told.purse)
        return MootRecord(told.name, told.seats, told.voucher, born, *at, told.heritage, told.elders)

    @cached_property
    def assembly(self) -> Assembly:
        """The contract of its members, and of what they decide together."""
        _, assembly = words(self._call("about"), 2)
        return Assembly(self._chain, checksum_address(assembly.to_bytes(32, "big")[12:]), self._sender)

    @cached_property
    def purse(self) -> Purse:
        """The contract of its rewards."""
        return Purse(self._chain, self.assembly.about.purse, self._sender)

    def check_code(self) -> None:
        """Raise ``ChainError`` where a contract of the moot is not the one that this package was built with, where they
        do not belong together, or where others can come in without a vote.

        Whoever gives a ticket chooses the contracts: such as look like a moot could decide anything.
        """
        deployment.check(self._chain, self.address, self._about, self.purse)

    def name(self) -> str:
        """What the moot is called."""
        return self._about.name

    def seats_log(self) -> list[Seated]:
        """Which accounts each member had, from which block on, in the order of the ledger."""
        return [abi.decode_seated(*log) for log in self._chain.logs(self.address, [abi.SEATED], self._about.born)]

    def living(self) -> int:
        """Bitmap of the members there are."""
        return words(self._call("living"), 1)[0]

    def member_count(self) -> int:
        """How many members there are."""
        return self.living().bit_count()

    def members(self) -> tuple[Member, ...]:
        """All members there ever were, ascending by index; those removed are not ``living``."""
        return self.assembly.members(self.living())

    def me(self) -> Member | None:
        """The signer as a member; ``None`` if it is not one."""
        if self._sender is None:
            return None
        (number,) = words(self._call("number_of", self._sender.address), 1)
        return None if number == 0 else self.assembly.member(number - 1, self.living())

    def join(self, fields: JoinFields, voucher_key: bytes) -> None:
        """Become a member, admitted by the voucher whose private key (32 bytes) this is."""
        self.assembly.join(fields, voucher_key)

    def sponsor(self, account: str, amount: int) -> None:
        """Give another account coins of the signer's, in wei, for its transactions. Raises ``LedgerRefused`` where the
        chain takes nothing for those."""
        self._writer.give(checksum_address(account), amount)

    def announce(self, addresses: Sequence[str]) -> None:
        """Say where the signer's peer can be reached, each as ``host:port``."""
        self.assembly.announce(addresses)

    def retired(self) -> bool:
        """Whether the moot has moved to a successor."""
        return words(self._call("condition"), 4)[1] == 1

    def floor(self) -> tuple[int, bool]:
        """What tasks must at least promise: members in each round, and whether contributions must be secret."""
        _, _, members, sealed = words(self._call("condition"), 4)
        return members, bool(sealed)

    # ---- datasets, tasks, consent ----------------------------------------------------------------------------

    def datasets(self) -> tuple[Dataset, ...]:
        """All described datasets, ascending by id."""
        return tuple(pages(1, lambda start: abi.decode_datasets(start, self._call("datasets", start))))

    def dataset(self, id: int) -> Dataset:
        """One dataset. Raises ``LedgerRefused`` when there is none of that id."""
        return self._one("dataset", id, abi.decode_datasets(id, self._call("datasets", id)))

    def describe(self, card: bytes, records: int, *, schema: bytes = bytes(32), conditions: bytes = bytes(32)) -> int:
        """Describe a dataset of the signer's; its id.

        The hashes (32 bytes) of its card, of what its records look like and of what its owner asks for; and about how
        many records.
        """
        return self._made("Described", self._send("describe", card, schema, conditions, records))

    def tasks(self) -> tuple[TaskRecord, ...]:
        """All proposed tasks, ascending by id.

        A full page of tasks that are all stopped is read once. So whoever proposes tasks and takes them back does not
        make the others read ever more.
        """
        self._forget_what_was_taken_back()
        return tuple(pages(1, self._task_page))

    def _task_page(self, start: int) -> tuple[TaskRecord, ...]:
        page = self._stopped.get(start) or abi.decode_tasks(self._call("tasks", start))
        if len(page) == abi.PAGE and all(record.standing is Standing.STOPPED for record in page):
            self._stopped[start] = page
        return page

    def task(self, id: int) -> TaskRecord:
        """One task. Raises ``LedgerRefused`` when there is none of that id."""
        return self._one("task", id, abi.decode_tasks(self._call("tasks", id)))

    def propose(self, bundle: bytes, genesis: bytes, policy: Terms) -> int:
        """Propose a task: the hashes (32 bytes each) of its bundle and first state, and its policy. Its id.

        It starts once the members have adopted it, and enough have granted.
        """
        terms = (
            policy.rounds,
            policy.min_members,
            policy.start,
            policy.train_seconds,
            policy.exchange_seconds,
            policy.final_seconds,
            int(policy.secret),
        )
        return self._made("Proposed", self._send("propose", bundle, genesis, terms))

    def withdraw(self, task: int) -> None:
        """Take back a task that the signer has proposed and that nobody has decided on."""
        self._send("withdraw", task)

    def grant_of(self, task: int, member: int) -> Grant | None:
        """The dataset that ``member`` lets ``task`` use, and its limits; ``None`` without a live grant."""
        return abi.decode_grant(self._call("grant_of", task, member))

    def own_grant(self, task: int, member: int) -> Grant | None:
        """As ``grant_of``, for who acts on it: ``None`` too where it stands otherwise in a newer block, which is not
        believed yet. So a grant counts once it is believed, and its end at once."""
        grant = self.grant_of(task, member)
        newest = self._chain.newest_calls(self.address, MOOT.call("grant_of", task, member)) if grant else []
        return grant if all(abi.decode_grant(data) == grant for data in newest) else None

    def grant(
        self, task: int, dataset: int, epsilon: float | None = None, *, until: int | None = None, rounds: int = 0
    ) -> None:
        """Consent that the signer's ``dataset`` serves ``task``, and spends at most ``epsilon`` of its privacy; up to
        the ledger time ``until``, and for so many ``rounds`` (0: all).

        Raises ``LedgerRefused`` when epsilon is not a number from a millionth to 2**40; it is kept in millionths.
        """
        if epsilon is not None and not 1 / abi.MILLION <= epsilon <= 2**40:
            raise LedgerRefused(f"epsilon is {epsilon}; a limit is a number from a millionth up")
        limit = 0 if epsilon is None else int(epsilon * abi.MILLION)
        self._send("grant", task, dataset, limit, until or 0, rounds)

    def revoke(self, task: int) -> None:
        """Withdraw the signer's grant for ``task``."""
        self._send("revoke", task)

    def attend(self, task: int) -> None:
        """Ask that the next round or attempt waits for the signer."""
        self._send("attend", task)

    # ---- rounds --------------------------------------------------------------------------------------------

    def round_view(self, task: int) -> RoundView:
        """Everything about the round being made."""
        view = abi.decode_round_view(task, self._call("round_view", task))
        if not view.committed:
            return view
        self._forget_what_was_taken_back()
        key = (view.round, view.attempt, view.opened, view.committed)
        if self._commits.get(task, (None,))[0] != key:
            self._commits[task] = key, self._committed(view)
        return dataclasses.replace(view, commits=self._commits[task][1])

    def _committed(self, view: RoundView) -> tuple[bytes, ...]:
        topics: list[bytes | None] = [abi.COMMITTED, word(view.task), word(view.round)]
        logs = self._chain.logs(self.address, topics, self._opened(view))
        found = {c.member: c.hash for log in logs for c in abi.decode_commits(*log) if c.attempt == view.attempt}
        try:
            return tuple(found[member] for member in members_of(view.committed))
        except KeyError as missing:
            raise ChainError(
                f"the chain's events leave out the commit of {called(missing.args[0])} in round {view.round} of task"
                f" {view.task}; use a full node"
            ) from None

    def _opened(self, view: RoundView) -> int:
        """A block, as the nodes number it, before which no commit of the attempt was made."""
        born = self._about.born
        if not self._renumbered:
            return view.opened
        return self.finals(view.task, view.round - 1)[0].block if view.round > 1 else born

    def commit(self, task: int, round: int, attempt: int, hash: bytes) -> None:
        """Commit to a contribution by its salted hash (32 bytes)."""
        self._send("commit", task, round, attempt, hash)

    def commit_all(self, task: int, round: int, attempt: int, commits: Mapping[int, tuple[bytes, bytes]]) -> None:
        """Commit for several members at once: for each its hash (32 bytes), and its 65 bytes under
        ``statements.commit_digest``."""
        members = sorted(commits)
        hashes = [commits[member][0] for member in members]
        signatures = b"".join(commits[member][1] for member in members)
        self._send("commit_all", task, round, attempt, bitmap_of(members), hashes, signatures)

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
        self._forget_what_was_taken_back()
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

    def granted_log(self, task: int, member: int) -> list[tuple[int, int]]:
        """Block and dataset of each grant that ``member`` ever made to ``task``, in the order of the ledger."""
        topics: list[bytes | None] = [abi.GRANTED, word(task), word(member)]
        logs = self._chain.logs(self.address, topics, self._about.born)
        return [(log.block, words(log.data, 1)[0]) for log in logs]

    def commits_log(self, task: int) -> list[Commit]:
        """Every commit ever made for ``task``, of abandoned attempts too, in the order of the ledger."""
        logs = self._logs(abi.COMMITTED, task, self._about.born)
        return [commit for log in logs for commit in abi.decode_commits(*log)]

    # ---- underneath ----------------------------------------------------------------------------------------

    def _forget_what_was_taken_back(self) -> None:
        """After a re-organisation nothing that is remembered need be so. The addresses stay: they hold no block."""
        if self._epoch == self._chain.epoch:
            return
        self._epoch = self._chain.epoch
        self._seen.clear()
        self._commits.clear()
        self._stopped.clear()
        self.__dict__.pop("_founding", None)

    def _logs(self, event: bytes, task: int, first: int) -> list[Log]:
        return self._chain.logs(self.address, [event, word(task)], first)

    @staticmethod
    def _one(kind: str, id: int, rows: Sequence[_Row]) -> _Row:
        if not rows:
            raise LedgerRefused(f"the moot has no {kind} {id}")
        return rows[0]
