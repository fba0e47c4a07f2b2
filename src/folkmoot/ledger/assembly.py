"""The typed client of a moot's assembly: its members, and what they decide together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

from folkmoot.errors import LedgerRefused
from folkmoot.keccak import keccak
from folkmoot.ledger.address import checksum_address
from folkmoot.ledger.chain import Chain
from folkmoot.ledger.codec import encode
from folkmoot.ledger.contract import Contract
from folkmoot.ledger.interface import Interface, answer, hints, text, words
from folkmoot.ledger.motions import Kind, Motion, Rules
from folkmoot.ledger.pages import pages
from folkmoot.ledger.records import JoinFields, Member, called
from folkmoot.ledger.signer import Keyed
from folkmoot.ledger.statements import delegation_digest, sign, voucher_digest
from folkmoot.ledger.transact import Sender

__all__ = ["ASSEMBLY", "Assembly", "Founding", "elders_hash", "join_arguments"]

ASSEMBLY = Interface("Assembly")

# strings are read as bytes: a member may have put anything there, and a strict decoder would refuse the whole page
_MEMBER = "(address,address,bytes,bytes32,bytes32,bytes,bytes,uint256)[]"
_MOTION = f"({'uint256,' * 6}bytes32{',uint256' * 6})[]"


class Founding(NamedTuple):
    """What was fixed when a moot was founded."""

    moot: str
    """Address of the contract of its work."""
    name: str
    seats: int
    voucher: str
    """Address of the founding voucher's key."""
    heritage: bytes
    """32 bytes: hash of the state of the moot that it continues; zeros for none."""
    purse: str
    elders: bytes
    """32 bytes: ``elders_hash`` of the accounts of that moot's members, each of which can join by its own key."""


def elders_hash(elders: Sequence[str]) -> bytes:
    """32 bytes that stand for a list of accounts."""
    return keccak(encode(["address[]"], [list(elders)]))


class Assembly(Contract):
    """One moot's assembly, reached as its ``Moot`` is; ``Moot.assembly`` makes it. Errors are as there."""

    interface = ASSEMBLY

    def __init__(self, chain: Chain, address: str, sender: Sender | None) -> None:
        super().__init__(chain, address, sender)
        self._unsettled_as_of = self.epoch
        self._first_unsettled = 1
        """Id of the first motion that was not settled when they were last read, in that epoch."""

    @cached_property
    def about(self) -> Founding:
        """What was fixed at the founding."""
        types = ["address", "bytes", "uint256", "address", "bytes32", "address", "bytes32"]
        moot, name, seats, voucher, heritage, purse, elders = answer(types, self._call("about"))
        return Founding(moot, text(name), seats, voucher, heritage, purse, elders)

    # ---- members -------------------------------------------------------------------------------------------

    def members(self, living: int) -> tuple[Member, ...]:
        """All members there ever were, ascending by index; ``living`` is the bitmap of those there are."""
        return tuple(pages(0, lambda start: _members(start, living, self._call("members", start))))

    def member(self, index: int, living: int) -> Member:
        """One member. Raises ``LedgerRefused`` when there is none of that index."""
        found = _members(index, living, self._call("members", index))
        if not found:
            raise LedgerRefused(f"the moot has no {called(index)}")
        return found[0]

    def join(self, fields: JoinFields, voucher_key: bytes) -> None:
        """Become a member, admitted by the voucher whose private key (32 bytes) this is."""
        signature = sign(voucher_key, voucher_digest(self.domain, self._writer.address))
        self._send("join", *join_arguments(fields), signature)

    def announce(self, addresses: Sequence[str]) -> None:
        """Say where the signer's peer can be reached, each as ``host:port``."""
        self._send("announce", _joined(addresses))

    def delegate(self, account: Keyed, fields: JoinFields) -> None:
        """Put another account, and the keys in ``fields``, in daily use. The signer is the member's main account; the
        other one's key says that it agrees."""
        main, keys = self._writer.address, (fields.endpoint, fields.exchange, fields.binding)
        own = checksum_address(account.address) == main
        consent = b"" if own else sign(bytes(account.key), delegation_digest(self.domain, main))
        self._send("delegate", account.address, *keys, consent)

    # ---- motions -------------------------------------------------------------------------------------------

    def rules(self) -> Rules:
        """How motions pass."""
        ordinary, grave, window, _ = words(self._call("rules"), 4)
        return Rules(ordinary, grave, window)

    def motions(self, first: int = 1) -> tuple[Motion, ...]:
        """All motions from ``first`` on, ascending by id."""
        return tuple(pages(first, lambda start: _motions(self._call("motions", start))))

    def unsettled(self, now: float) -> tuple[Motion, ...]:
        """The motions of which something may come after ledger time ``now``, ascending by id.

        Those before the first of them are not read again. So it costs the same however many there ever were: a member
        has at most eight open ones, and none outlasts two windows.
        """
        if self._unsettled_as_of != self.epoch:
            self._unsettled_as_of, self._first_unsettled = self.epoch, 1
        found = self.motions(self._first_unsettled)
        live = tuple(motion for motion in found if not motion.settled(now))
        if found:
            self._first_unsettled = live[0].id if live else found[-1].id + 1
        return live

    def motion(self, id: int) -> Motion:
        """One motion. Raises ``LedgerRefused`` when there is none of that id."""
        found = _motions(self._call("motions", id)) if id > 0 else ()
        if not found:
            raise LedgerRefused(f"the moot has no motion {id}")
        return found[0]

    def awaited(self) -> int:
        """How many members of the moot that this one continues can still come in by their own keys."""
        return words(self._call("awaited"), 1)[0]

    def weight_of(self, member: int) -> int:
        """The weight of a member's vote."""
        return words(self._call("weight_of", member), 1)[0]

    def is_usable(self, voucher: str) -> bool:
        """Whether a voucher that was voted for still admits a member."""
        return words(self._call("is_usable", checksum_address(voucher)), 1) == [1]

    def move(self, kind: Kind, *given: int, reasons: bytes = bytes(32)) -> int:
        """Put something to the vote, and vote for it: its words, and the hash (32 bytes) of the reasons. Its id."""
        padded = [*given, *(0 for _ in range(3 - len(given)))]
        return self._made("Moved", self._send("move", int(kind), padded, reasons))

    def vote(self, motion: int, aye: bool) -> None:
        """Vote on a motion; once and for good."""
        self._send("vote", motion, int(aye))

    def enact(self, motion: int) -> None:
        """Have done what a motion says that has passed."""
        self._send("enact", motion)


@lru_cache(maxsize=32)
def _members(start: int, living: int, data: bytes) -> tuple[Member, ...]:
    (rows,) = answer([_MEMBER], data)
    return tuple(
        Member(
            index=start + i,
            address=account,
            name=text(name),
            endpoint=endpoint,
            exchange=exchange,
            binding=binding,
            addresses=hints(raw),
            since=since,
            main=main,
            living=bool(living >> (start + i) & 1),
        )
        for i, (account, main, name, endpoint, exchange, binding, raw, since) in enumerate(rows)
    )


def _motions(data: bytes) -> tuple[Motion, ...]:
    (rows,) = answer([_MOTION], data)
    return tuple(
        Motion(id, mover, Kind(kind), (a, b, c), reasons, deadline, ayes, noes, bool(done), bool(passed), window)
        for id, mover, kind, a, b, c, reasons, deadline, ayes, noes, done, passed, window in rows
    )


def join_arguments(fields: JoinFields) -> tuple[object, ...]:
    """What a member tells of itself, as the contract takes it. Raises ``LedgerRefused`` where it is too long."""
    if not 1 <= len(fields.name.encode()) <= 64:
        raise LedgerRefused(f"the name {fields.name!r} has {len(fields.name.encode())} bytes; use 1 to 64")
    return fields.name, fields.endpoint, fields.exchange, fields.binding, _joined(fields.addresses)


def _joined(addresses: Sequence[str]) -> str:
    joined = ",".join(addresses)
    if len(joined.encode()) > 512:
        raise LedgerRefused(f"{len(addresses)} addresses take {len(joined.encode())} bytes; give fewer, 512 in all")
    return joined
