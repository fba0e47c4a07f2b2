"""The real contract under virtual time: ``Moot.json`` in pyrevm, called with the ABI of ``ledger.abi``.

An ordinary account stands in for the assembly: nothing is decided here but who has a seat and that the task is adopted.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from functools import cache

from pyrevm import EVM, BlockEnv, CfgEnv, Env

from folkmoot.ledger import abi, statements
from folkmoot.ledger.abi import MOOT
from folkmoot.ledger.interface import revert_reason, words
from folkmoot.ledger.records import Final, PolicyTerms, Standing, bitmap_of
from folkmoot.ledger.statements import Domain
from folkmoot.round.events import Key
from folkmoot.round.view import Phase, RoundView, members_of

CHAIN = 31337
ASSEMBLY = statements.address_of(b"\x77" * 32)
GAS = 30_000_000
_REVERT = re.compile(r"output: 0x([0-9a-f]*)")


@cache
def key_of(member: int) -> bytes:
    """The private key of member ``member``."""
    return (0xF01C0000 + member).to_bytes(32, "big")


@cache
def account_of(member: int) -> str:
    return statements.address_of(key_of(member))


class Refused(Exception):
    """The contract reverted, with this reason."""


class Ledger:
    """One moot with one task (number 1). ``clock`` gives the virtual time; a block's timestamp is its whole seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.head = 0
        self.members = 0
        self.finals: list[Final] = []
        self.commits: dict[tuple[Key, int], bytes] = {}
        self.closings: dict[Key, int] = {}
        """When the commits of each attempt closed, for those whose commits did."""
        self.opened = False
        self._seen: tuple[int, RoundView] | None = None
        self._evm = EVM(env=Env(cfg=CfgEnv(chain_id=CHAIN)), gas_limit=GAS, spec_id="CANCUN")
        self.contract = ""

    def found(self, members: int, genesis: bytes, terms: PolicyTerms, granting: int) -> None:
        """Make the moot, its members and the task; the first ``granting`` members grant."""
        self._set_time()
        self.contract = self._evm.deploy(account_of(0), MOOT.deploy(ASSEMBLY))
        self.domain = Domain(CHAIN, self.contract)
        self.members = 1
        for _ in range(1, members):
            self.join()
        numbers = (terms.rounds, terms.min_members, terms.start, terms.train_seconds, terms.exchange_seconds)
        self.post(0, "propose", b"\xb0" * 32, genesis, (*numbers, terms.final_seconds, int(terms.secret)))
        self._post(ASSEMBLY, "steer", 1, int(Standing.ADOPTED))
        self.opened = True
        for member in range(granting):
            self.grant(member)

    def join(self) -> int:
        """Another member joins; its index."""
        member = self.members
        self._post(ASSEMBLY, "seat", account_of(member))
        self.members += 1
        return member

    def grant(self, member: int) -> None:
        dataset = words(self.post(member, "describe", b"\xcc" * 32, bytes(32), bytes(32), 100), 1)[0]
        self.post(member, "grant", 1, dataset, 0, 0, 0)

    def granted(self, member: int) -> bool:
        return words(self._call(account_of(0), "grant_of", 1, member, static=True), 4)[0] != 0

    def view(self) -> RoundView:
        """The round being made."""
        if self._seen is None or self._seen[0] != self.head:
            view = abi.decode_round_view(1, self._call(account_of(0), "round_view", 1, static=True))
            key = Key(1, view.round, view.attempt)
            commits = tuple(self.commits[key, member] for member in members_of(view.committed))
            self._seen = self.head, dataclasses.replace(view, commits=commits)
        return self._seen[1]

    def key(self) -> Key:
        view = self.view()
        return Key(1, view.round, view.attempt)

    def commits_closed(self, key: Key) -> bool:
        """Whether no more commits can come for ``key``; False for an attempt that was given up while they could."""
        view = self.view()
        if key == self.key() and view.phase is not Phase.GATHERING:
            return view.closed(int(self.clock()))
        return key in self.closings

    def post(self, member: int, call: str, *arguments: object) -> bytes:
        """Run a transaction of ``member``'s in a block of its own. Raises ``Refused`` with the contract's reason."""
        return self._post(account_of(member), call, *arguments)

    def _post(self, sender: str, call: str, *arguments: object) -> bytes:
        if self.opened and self.commits_closed(self.key()):
            view = self.view()
            self.closings[self.key()] = view.closed_at or view.commit_deadline
        output = self._call(sender, call, *arguments)
        self.head += 1
        for log in self._evm.result.logs:
            topics, data = log.data
            if bytes(topics[0]) == abi.FINALISED:
                self.finals.append(abi.decode_final([bytes(t) for t in topics], bytes(data), self.head))
            elif bytes(topics[0]) == abi.COMMITTED:
                for commit in abi.decode_commits([bytes(t) for t in topics], bytes(data), self.head):
                    self.commits[Key(commit.task, commit.round, commit.attempt), commit.member] = commit.hash
        return output

    def freeze(self, member: int, key: Key, holdings: dict[int, tuple[int, bytes]]) -> None:
        voters = sorted(holdings)
        signatures = b"".join(holdings[m][1] for m in voters)
        self.post(member, "freeze", *key, bitmap_of(voters), [holdings[m][0] for m in voters], signatures)

    def _set_time(self) -> None:
        self._evm.set_block_env(BlockEnv(number=self.head + 1, timestamp=int(self.clock()), prevrandao=bytes(32)))

    def _call(self, sender: str, call: str, *arguments: object, static: bool = False) -> bytes:
        self._set_time()
        data = MOOT.call(call, *arguments)
        try:
            return bytes(self._evm.message_call(sender, self.contract, data, gas=GAS, is_static=static))
        except RuntimeError as error:
            found = _REVERT.search(str(error))
            reason = revert_reason(bytes.fromhex(found[1])) if found else None
            raise Refused(reason or str(error)) from None
