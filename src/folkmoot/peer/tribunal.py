"""Who broke a rule is shown to the others, and a quorum of them bars it from the task."""

from __future__ import annotations

import asyncio

from folkmoot.digest import Hash, blob_hash
from folkmoot.errors import FolkmootError, IntegrityError, LedgerRefused, NetworkError
from folkmoot.ledger.records import called, quorum
from folkmoot.ledger.statements import Domain
from folkmoot.network.messages import Message
from folkmoot.peer.context import PeerContext
from folkmoot.peer.evidence import Evidence, convicts, decode, encode
from folkmoot.peer.exchange import Exchange
from folkmoot.peer.messages import Accusation, Agreed, Unavailable
from folkmoot.round.events import Key
from folkmoot.round.machine import RoundMachine
from folkmoot.round.masking import Place
from folkmoot.round.plan import Plan

__all__ = ["Tribunal"]

PAUSE = 5.0
"""Seconds before an accusation that too few answered is made again; doubles each time."""
TRIES = 6


class Tribunal:
    """One task's accusations, of others and by others."""

    def __init__(self, task: int, peer: PeerContext, machine: RoundMachine, exchange: Exchange) -> None:
        self._task = task
        self._peer = peer
        self._machine = machine
        self._exchange = exchange
        self._accused: set[int] = set()
        self._judged: dict[tuple[int, int], Hash] = {}
        """For each accuser and accused the evidence that was agreed to: a liar may make any number, and show each
        member another, so each accuser needs a quorum for its own."""
        self._earlier: dict[tuple[Key, int], Hash] = {}
        """Commits of attempts that are over."""
        self._read_in: list[Key | None] = []
        """The attempt in which those were read last."""

    # ---- what evidence is held against ---------------------------------------------------------------------------

    @property
    def domain(self) -> Domain:
        """Where statements count."""
        return self._peer.moot.domain

    def accounts(self, member: int) -> frozenset[str]:
        """The account whose signature counts as a member's."""
        if member not in self._peer.members:
            raise IntegrityError(f"there is no {called(member)}")
        return frozenset((self._peer.members[member].address,))

    def commit(self, key: Key, member: int) -> bytes | None:
        """What a member committed to in an attempt, as far as that is known here without asking the ledger."""
        if key == self._machine.key:
            return self._machine.commit_of(member)
        return self._earlier.get((key, member))

    def plan(self, key: Key) -> tuple[Place, Plan] | None:
        """Place and plan of the attempt under way; of earlier ones nothing is known here any more."""
        plan = self._machine.plan
        if plan is None or self._machine.key != key:
            return None
        return Place(self.domain.chain_id, self.domain.contract, key, self._machine.parent), plan

    async def _convinces(self, evidence: Evidence) -> None:
        await self._recall(evidence)
        convicts(evidence, self)

    async def _recall(self, evidence: Evidence) -> None:
        """Have at hand what was committed in an attempt that is over. Reading all that costs more than to say something
        false, so it is done once in each attempt: to the earlier ones nothing is added any more."""
        present = self._machine.key
        if evidence.key == present or (evidence.key, evidence.member) in self._earlier or self._read_in == [present]:
            return
        self._read_in = [present]
        commits = await self._peer.ledger(self._peer.moot.commits_log, self._task)
        self._earlier = {(Key(c.task, c.round, c.attempt), c.member): c.hash for c in commits}

    # ---- accusing ------------------------------------------------------------------------------------------------

    async def accuse(self, evidence: Evidence) -> None:
        """Show the evidence to everyone; with a quorum's signatures, have the member barred. Once for each member."""
        member = evidence.member
        if member in self._accused or member == self._peer.index:
            return
        self._accused.add(member)
        try:
            await self._convinces(evidence)
        except IntegrityError as error:
            self._accused.discard(member)
            self._peer.log("no evidence", member=member, error=str(error))
            return
        data = encode(evidence)
        name = self._peer.store.put(data, durable=True)
        kind = type(evidence).__struct_config__.tag
        self._peer.log("accuses", task=self._task, member=member, kind=kind, evidence=name.hex())
        signatures = {self._peer.index: self._peer.sign_expulsion(self._task, member, name)}
        for attempt in range(TRIES):
            others = [m for m in self._peer.living if m not in signatures and m != member]
            for signed in await asyncio.gather(*(self._show(to, member, name, data) for to in others)):
                signatures.update(signed)
            if len(signatures) >= quorum(len(self._peer.living)):
                await self._expel(member, name, signatures)
                return
            await asyncio.sleep(PAUSE * 2.0**attempt)
        self._accused.discard(member)

    async def _show(self, to: int, member: int, name: Hash, data: bytes) -> dict[int, bytes]:
        accusation = Accusation(task=self._task, member=member, evidence=name)
        try:
            reply, _ = await self._peer.ask(to, accusation, data)
            if isinstance(reply, Agreed):
                self._peer.check_expulsion(to, self._task, member, name, reply.signature)
                return {to: reply.signature}
        except FolkmootError as error:
            self._peer.log("not agreed", with_member=to, error=str(error))
        return {}

    async def _expel(self, member: int, name: Hash, signatures: dict[int, bytes]) -> None:
        try:
            await self._peer.post(self._peer.moot.expel, self._task, member, name, signatures)
        except LedgerRefused as refusal:
            self._peer.log("refused", call="expel", reason=str(refusal))  # another was first
            return
        who = self._peer.members[member].name
        told = f"{who} broke a rule of task {self._task} and is barred from it: evidence {name.hex()[:12]}"
        self._peer.complain(told, kind="member", task=self._task)

    # ---- being shown ---------------------------------------------------------------------------------------------

    async def judge(self, accuser: int, accusation: Accusation, data: bytes) -> Message:
        """Check a member's evidence. Raises ``IntegrityError`` when it does not prove what it says."""
        pair = (accuser, accusation.member)
        known = self._judged.get(pair)
        if known not in (None, accusation.evidence):
            return Unavailable("other evidence of yours against that member was agreed to")
        if blob_hash(data) != accusation.evidence:
            raise IntegrityError("the evidence is not the blob that the accusation names")
        evidence = decode(data)
        if (evidence.task, evidence.member) != (self._task, accusation.member):
            raise IntegrityError("the evidence is against another member, or of another task")
        if accusation.member == self._peer.index:
            raise NetworkError("one does not judge oneself")
        if known is None:
            await self._convinces(evidence)
        name = self._peer.store.put(data, durable=True)
        self._judged[pair] = name
        return Agreed(signature=self._peer.sign_expulsion(self._task, accusation.member, name))
