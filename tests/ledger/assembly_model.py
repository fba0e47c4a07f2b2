"""The rules of an assembly in plain Python, over the model of its moot: who comes in, what is moved, voted, enacted."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

from moot_model import DONE, Moot, Refused, require

from folkmoot.ledger.address import checksum_address
from folkmoot.ledger.motions import Kind

GRAVE = {Kind.ADMIT, Kind.REMOVE, Kind.REKEY, Kind.WEIGH, Kind.RULES, Kind.RETIRE}
POT = 2**160


@dataclass
class Motion:
    mover: int
    kind: Kind
    words: tuple[int, int, int]
    window: int
    deadline: int
    removals: int
    """How many members had been put out when it was moved."""
    ayes: set[int] = field(default_factory=set)
    noes: set[int] = field(default_factory=set)
    done: bool = False


class Assembly:
    """The model. ``moot.now`` is set from outside; ``sender`` is always the first argument."""

    def __init__(
        self, moot: Moot, seats: int, voucher: str, elders: set[str], rules: tuple[int, int, int], tokens: set[bytes]
    ) -> None:
        self.moot = moot
        self.seats = seats
        self.voucher = voucher
        self.admitted: dict[str, tuple[int, int]] = {}
        """Vouchers that were voted for: until when, and how many members had been put out when they were."""
        self.spent: set[str] = set()
        self.elders = set(elders)
        """Those that have not been used yet; they count as members who say nothing."""
        self.rules = rules
        self.owners = dict.fromkeys(tokens, 0)
        """Of each name and key the member that has or had it."""
        self.weights: dict[int, int] = {}
        self.motions: list[Motion] = []
        self.pots: dict[int, int] = {}

    @property
    def now(self) -> int:
        return self.moot.now

    # ---- members

    def join(self, sender: str, name: bytes, endpoint: bytes, exchange: bytes, voucher: str) -> None:
        founding = voucher == self.voucher and len(self.moot.accounts) < self.seats and not self.moot.removed
        require(founding or self.usable(voucher), "voucher is not usable")
        index = len(self.moot.accounts)
        require(not self.moot.moved, "the moot has moved")
        require(self.moot.number(sender) is None, "already a member")
        self._take(index, (name, "name is taken"), (endpoint, "endpoint is taken"), (exchange, "exchange key is taken"))
        self.moot.seat(self.moot.assembly, sender)
        if not founding:
            self.spent.add(voucher)
            self.elders.discard(voucher)

    def usable(self, voucher: str) -> bool:
        if voucher in self.spent or voucher not in self.admitted:
            return voucher in self.elders
        until, removals = self.admitted[voucher]
        return voucher in self.elders or (self.now < until and removals == len(self.moot.removed))

    def delegate(self, sender: str, account: str, endpoint: bytes, exchange: bytes) -> None:
        index = self.moot.main(sender)
        before = dict(self.owners)
        self._take(index, (endpoint, "endpoint is taken"), (exchange, "exchange key is taken"))
        try:
            self.moot.use(self.moot.assembly, index, account, sender)
        except Refused:
            self.owners = before
            raise

    def _take(self, index: int, *tokens: tuple[bytes, str]) -> None:
        for token, reason in tokens:
            require(self.owners.get(token, index) == index, reason)
        self.owners.update((token, index) for token, _ in tokens)

    # ---- motions

    def weight(self, members: set[int]) -> int:
        return sum(self.weights.get(member, 1) for member in members)

    def passes(self, motion: Motion) -> bool:
        percent = self.rules[motion.kind in GRAVE]
        living = self.moot.living
        return 100 * self.weight(motion.ayes & living) > percent * (self.weight(living) + len(self.elders))

    def move(self, sender: str, kind: int, words: tuple[int, int, int]) -> int:
        mover = self.moot.main(sender)
        window = self.rules[2]
        open_ = [m for m in self.motions if m.mover == mover and not m.done and self.now < m.deadline]
        require(len(open_) < 8, "too many open motions of this member")
        removals = len(self.moot.removed)
        self.motions.append(Motion(mover, Kind(kind), words, window, self.now + window, removals, {mover}))
        return len(self.motions)

    def vote(self, sender: str, id: int, aye: int) -> None:
        member = self.moot.main(sender)
        motion = self._open(id)
        require(self.now < motion.deadline, "the window is over")
        require(member not in motion.ayes | motion.noes, "already voted")
        (motion.ayes if aye else motion.noes).add(member)

    def enact(self, sender: str, id: int) -> None:
        motion = self._open(id)
        require(self.now < motion.deadline + motion.window, "too late to enact it")
        require(self.passes(motion), "it has not passed")
        before = copy.deepcopy((self.moot, self.admitted, self.weights))
        try:
            self._do(motion, *motion.words)
        except Refused:
            self.moot, self.admitted, self.weights = before
            raise
        motion.done = True

    def _open(self, id: int) -> Motion:
        require(0 < id <= len(self.motions), "no such motion")
        require(not self.motions[id - 1].done, "already enacted")
        return self.motions[id - 1]

    def _do(self, motion: Motion, a: int, b: int, c: int) -> None:
        moot, assembly, kind = self.moot, self.moot.assembly, motion.kind
        if kind is Kind.ADMIT:
            voucher = _address(a)
            require(a != 0, "voucher is empty")
            require(voucher != self.voucher and voucher not in self.spent, "voucher is used")
            require(motion.removals == len(moot.removed), "a member was put out since")
            self.admitted[voucher] = (self.now + motion.window, motion.removals)
        elif kind is Kind.REMOVE:
            moot.remove(assembly, a)
            self._someone_votes()
        elif kind is Kind.REKEY:
            main = _address(b)
            require(a in moot.living, "no such member")
            require(b != 0, "account is empty")
            moot.use(assembly, a, main, main)
        elif kind is Kind.STEER:
            moot.steer(assembly, a, b)
        elif kind is Kind.BOUND:
            moot.bound(assembly, a, b)
        elif kind is Kind.WEIGH:
            require(a < 256 and b <= 1_000_000, "weight out of bounds")
            require(a in moot.living, "no such member")
            self.weights[a] = b
            self._someone_votes()
        elif kind is Kind.RULES:
            require(50 <= a <= b < 100, "percent out of bounds")
            require(10 <= c <= 90 * 86_400, "window out of bounds")
            self.rules = (a, b, c)
        elif kind is Kind.RETIRE:
            moot.retire(assembly, a, _address(b), c.to_bytes(32, "big"))
        else:
            require(moot.task(a).phase != DONE, "task is done")
            require(b > 0 and self.pots.get(a, 0) + b < POT, "amount out of bounds")
            self.pots[a] = self.pots.get(a, 0) + b

    def _someone_votes(self) -> None:
        require(self.weight(self.moot.living) > 0, "someone must be able to vote")


def _address(word: int) -> str:
    require(word < 2**160, "not an address")
    return checksum_address(word.to_bytes(20, "big"))
