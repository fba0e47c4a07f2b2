"""A transaction on its way through nodes that may lose it, to a chain that may take it back, at prices that rise.

Of one call several *variants* may be sent: the same nonce, other fees. At most one of them ever stands, because of the
nonce. A process that is killed on the way forgets what it sent, and may say the same again with another nonce; the
contract takes what belongs to a round, a grant, a vote or a seat once, and refuses it the second time. What is
described or proposed twice stands twice, and counts for nothing until it is granted or adopted. Coins are given twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial

from folkmoot.errors import ChainError, LedgerRefused
from folkmoot.keccak import keccak
from folkmoot.ledger.answers import Landed, NodeError
from folkmoot.ledger.chain import Chain
from folkmoot.ledger.fees import Fees, Market, gwei
from folkmoot.ledger.node import Node
from folkmoot.ledger.transaction import sign_1559, sign_legacy

__all__ = ["Delivery"]

_TRIES = 8
_TRANSFER_GAS = 21_000
_LOG = logging.getLogger(__name__)


class Verdict(Enum):
    """What the nodes make of a transaction."""

    TAKEN = "taken"
    NONCE_USED = "nonce used"
    UNDERPRICED = "underpriced"


@dataclass
class _Sent:
    """A call on its way."""

    to: str | None
    data: bytes
    value: int
    gas: int
    nonce: int
    fees: Fees
    raw: bytes
    names: list[str]
    """Hashes of its variants, the newest last."""
    tips: Mapping[str, bytes]
    """The chain as it was when it was last looked after."""
    block: int
    """The newest block when it was sent, or last offered more."""
    at: float
    """Likewise, on the monotonic clock."""
    clearing: Fees | None = None
    """What was offered last to clear the way of a transaction before it that is stuck."""
    waits_for: str = "no block takes it; does the chain make blocks?"
    """Told when patience is over."""
    warned: str = ""

    def waits(self, kind: str, what: str) -> None:
        """Note what it waits for, and say so the first time."""
        self.waits_for = f"{kind}: {what}"
        if kind != self.warned:
            self.warned = kind
            _LOG.warning("transaction %s waits: %s", self.names[-1], self.waits_for)


class Delivery:
    """Carries the transactions of one account to the nodes of ``chain``. May be used from several threads."""

    def __init__(self, chain: Chain, address: str, key: bytes) -> None:
        self._chain = chain
        self._nodes = chain.nodes
        self._view = chain.view
        self._patience = chain.patience
        self._address = address
        self._key = key
        self._lock = threading.Lock()
        """Held from the choice of a nonce until it is taken."""
        self._open: set[int] = set()
        """Nonces of what is on its way."""

    def deliver(self, to: str | None, data: bytes, value: int = 0) -> str:
        """Send, and wait until it is believed; the hash of the variant that stands. ``value`` is what it gives away, in
        wei. See ``Sender.send``."""
        call = {"from": self._address, "data": "0x" + data.hex()} | ({} if to is None else {"to": to})
        if value:
            call["value"] = hex(value)
        for _ in range(_TRIES):
            gas = self._dry_run(call)
            fees, waited = self._affordable()
            sent = self._send(to, data, value, self._dry_run(call) if waited else gas, fees)
            try:
                found = self._see_through(sent)
            finally:
                self._open.discard(sent.nonce)
            if found is None:
                continue  # its nonce went to a transaction of another process; what that changed is looked at anew
            name, landed = found
            if not landed.succeeded:
                # it was good when it was checked, so another came first: the same call now tells what is wrong
                self._chain.check(call)
                raise LedgerRefused("the contract refused: another transaction came first")
            return name
        raise self._contended()

    def receipt(self, name: str) -> Landed:
        """What became of a transaction that was delivered."""
        landed = self._nodes.agreed(f"transaction {name}", lambda node: node.receipt(name))
        if landed is None:
            raise ChainError(f"transaction {name} stood in a block and does no more; the chain reorganised: try again")
        return landed

    # ---- before ----------------------------------------------------------------------------------------------

    def _dry_run(self, call: dict[str, str]) -> int:
        """Gas it takes in the newest block's state, and a quarter more, for others' calls may land before it.

        What only blocks refuse that are not believed yet is not refused yet: they may be taken back, and whoever reads
        the ledger does not see why. It waits until they are believed, or gone.
        """
        until, pause = time.monotonic() + self._patience.most, 0.02
        while True:
            told = self._nodes.told("what gas a transaction takes", lambda node: node.estimate(call))
            gas = max((answer.value for answer in told if not isinstance(answer.value, NodeError)), default=None)
            if gas is not None:  # one that refuses may be behind, or lie
                return min(gas * 5 // 4, max(gas, self._nodes.first(Node.newest).gas_limit))
            self._chain.check(call)
            if time.monotonic() > until and isinstance(error := told[0].value, NodeError):
                raise LedgerRefused(f"the contract refused: {error.reason}")
            pause = _sleep(pause)

    def _affordable(self) -> tuple[Fees, bool]:
        """What to offer, and whether there was a wait: above the cap, until gas is cheaper."""
        until, pause, waited = time.monotonic() + self._patience.most, 0.02, False
        cap = self._chain.fee_cap
        while True:
            base, offer = Market.ask(self._nodes, self._address)
            if cap is None or base <= cap:
                return offer.within(cap), waited
            why = f"gas costs {gwei(base)}, more than the fee_cap of {gwei(cap)} in config.json"
            if time.monotonic() > until:
                raise ChainError(f"a transaction was not sent for {self._patience.most:.0f} s: {why}")
            if not waited:
                _LOG.warning("a transaction waits: %s", why)
            waited, pause = True, _sleep(pause)

    def _send(self, to: str | None, data: bytes, value: int, gas: int, fees: Fees) -> _Sent:
        """Sign and send a first variant."""
        until, pause, used = time.monotonic() + self._patience.most, 0.02, 0
        self._view.look()
        while True:
            with self._lock:
                nonce = self._next_nonce()
                raw = self._sign(nonce, to, data, value, gas, fees)
                verdict = self._hand_over(raw)
                if verdict is Verdict.TAKEN:
                    self._open.add(nonce)
                    place = (self._view.tips, self._view.newest, time.monotonic())
                    return _Sent(to, data, value, gas, nonce, fees, raw, [_name(raw)], *place)
            used += verdict is Verdict.NONCE_USED
            if used > _TRIES:
                raise self._contended()
            if verdict is Verdict.UNDERPRICED:
                if time.monotonic() > until:
                    raise ChainError(f"the chain finds {gwei(fees.most)} for a unit of gas too little")
                offer = Market.ask(self._nodes, self._address).offer
                fees = fees.raised().at_least(offer).within(self._chain.fee_cap)
            pause = _sleep(pause)

    def _next_nonce(self) -> int:
        """After all that the nodes know of, and all that is on its way, which they may have lost."""
        return max(self._count(pending=True), *(nonce + 1 for nonce in self._open), 0)

    def _count(self, *, pending: bool) -> int:
        """The account's next nonce, by whoever is the farthest: the others have yet to hear of it."""
        what = f"the nonce of {self._address}"
        told = self._nodes.told(what, lambda node: node.next_nonce(self._address, pending=pending))
        return max(answer.get() for answer in told)

    # ---- on the way ------------------------------------------------------------------------------------------

    def _see_through(self, sent: _Sent) -> tuple[str, Landed] | None:
        """Wait until a variant is believed: its hash, and what became of it. None if another transaction has its
        nonce. Whatever the nodes do meanwhile is borne until patience is over."""
        until, pause, newest = time.monotonic() + self._patience.most, 0.02, -1
        while True:
            trouble = ""
            try:
                believed = self._view.look().number
                name, landed, everywhere = self._find(sent)
                if landed is not None and landed.block <= believed and everywhere:
                    return name, landed
                if landed is not None and landed.block <= believed:
                    sent.waits_for = f"it stands in block {landed.block}, and not all of the ledger's nodes say so"
                elif landed is not None:
                    sent.waits_for = f"it stands in block {landed.block}, and blocks are believed up to {believed}"
                    if newest != (newest := self._view.newest):
                        until = time.monotonic() + self._patience.most
                elif self._push(sent) is Verdict.NONCE_USED and self._is_lost(sent):
                    return None
            except ChainError as error:
                trouble = str(error)
            if time.monotonic() > until:
                raise ChainError(
                    f"transaction {sent.names[-1]} is not confirmed after {self._patience.most:.0f} s: "
                    f"{trouble or sent.waits_for} (it may still come to stand; then it counts, once)"
                )
            pause = _sleep(pause)

    def _find(self, sent: _Sent) -> tuple[str, Landed | None, bool]:
        """The variant that stands in a block, and whether all nodes that answer say the same about it."""
        for name in reversed(sent.names):
            answers = self._nodes.told(f"transaction {name}", partial(Node.receipt, name=name))
            told = [answer.get() for answer in answers]
            for landed in told:
                if landed is not None:
                    return name, landed, all(other == landed for other in told)
        return "", None, False

    def _push(self, sent: _Sent) -> Verdict:
        """After each block that leaves it out: send it again, for it may have been lost; and when that has gone on for
        a while, offer more."""
        if sent.tips == self._view.tips:
            return Verdict.TAKEN
        sent.tips = self._view.tips
        verdict = self._hand_over(sent.raw)
        blocks, seconds = self._view.newest - sent.block, time.monotonic() - sent.at
        if verdict is not Verdict.NONCE_USED and blocks >= self._patience.blocks and seconds >= self._patience.seconds:
            before = self._count(pending=False)
            if before < sent.nonce and before not in self._open:
                self._clear_way(sent, before)
            else:
                self._offer_more(sent)
        return verdict

    def _offer_more(self, sent: _Sent) -> None:
        """Make a variant that nodes take in place of the last one, unless the cap forbids it."""
        base, offer = Market.ask(self._nodes, self._address)
        cap = self._chain.fee_cap
        fees = sent.fees.raised().at_least(offer).within(cap)
        if fees.beats(sent.fees):
            raw = self._sign(sent.nonce, sent.to, sent.data, sent.value, sent.gas, fees)
            if self._hand_over(raw) is Verdict.TAKEN:
                sent.raw, sent.block, sent.at = raw, self._view.newest, time.monotonic()
                sent.names.append(_name(raw))
            sent.fees = fees  # where it was too little for a node, the next offer is higher
        elif cap is not None:
            prices = f"it offers {gwei(sent.fees.most)} a unit, gas costs {gwei(base)}"
            sent.waits(f"the fee_cap of {gwei(cap)} in config.json allows no higher offer", prices)

    def _clear_way(self, sent: _Sent, nonce: int) -> None:
        """Put an empty transaction in place of one before it that is stuck: of this account, from another process or
        from one that was killed. Who sent that finds its nonce used, and says again what still has to be said."""
        offer = Market.ask(self._nodes, self._address).offer
        sent.clearing = (sent.clearing.raised() if sent.clearing else offer).at_least(offer).within(self._chain.fee_cap)
        sent.waits(f"an earlier transaction of {self._address} is stuck", f"nonce {nonce} is being replaced")
        self._hand_over(self._sign(nonce, self._address, b"", 0, _TRANSFER_GAS, sent.clearing))

    def _is_lost(self, sent: _Sent) -> bool:
        """Whether another transaction with its nonce is believed, and so none of its variants will ever stand."""
        block = self._view.look()
        used = self._nodes.agreed(f"the nonce of {self._address}", lambda node: node.count(self._address, at=block))
        return used > sent.nonce and self._find(sent)[1] is None

    # ---- underneath ------------------------------------------------------------------------------------------

    def _hand_over(self, raw: bytes) -> Verdict:
        """Give it to all nodes, lest one keeps it to itself. One that takes it is enough."""
        answers = self._nodes.each(lambda node: node.send(raw))
        errors = [answer.value for answer in answers if isinstance(answer.value, NodeError)]
        words = [error.message.lower() for error in errors if not error.reverted]
        if len(errors) < len(answers) or _say(words, "already", "known transaction"):
            return Verdict.TAKEN
        if _say(words, "nonce"):
            return Verdict.NONCE_USED
        if _say(words, "underpriced", "less than block base fee", "below configured minimum"):
            return Verdict.UNDERPRICED
        if errors[0].reverted:
            raise LedgerRefused(f"the contract refused: {errors[0].reason}")
        raise ChainError(f"the chain did not take the transaction: {errors[0]}")

    def _sign(self, nonce: int, to: str | None, data: bytes, value: int, gas: int, fees: Fees) -> bytes:
        place = (self._key, self._chain.id, nonce, to, data)
        if fees.tip is None:
            return sign_legacy(*place, gas=gas, gas_price=fees.most, value=value)
        return sign_1559(*place, gas=gas, max_fee=fees.most, max_priority_fee=fees.tip, value=value)

    def _contended(self) -> ChainError:
        return ChainError(
            f"the chain refused {_TRIES} nonces of {self._address}; another process may be sending with its key"
        )


def _say(errors: list[str], *words: str) -> bool:
    return any(word in error for error in errors for word in words)


def _name(raw: bytes) -> str:
    return "0x" + keccak(raw).hex()


def _sleep(pause: float) -> float:
    """Wait; how long to wait the next time."""
    time.sleep(pause)
    return min(1.0, 1.5 * pause)
