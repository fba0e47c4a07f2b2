"""Gas of every call of a moot's contracts, and of a round.

    python -m benchmarks gas --write docs/ledger.md

Measured on the embedded chain, where every transaction meets cold slots, as on any chain by the rules of Cancun; a
test holds the figures to a snapshot. In each moot all members commit, and a quorum of them signs.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from web3 import Web3

from folkmoot.ledger import EmbeddedProvider, JoinFields, Moot, PolicyTerms, Signer, create_chain, quorum, statements
from folkmoot.ledger.build import CONTRACTS
from folkmoot.ledger.interface import Interface
from folkmoot.ledger.motions import Kind, Rules
from folkmoot.ledger.purse import seal_of
from folkmoot.ledger.records import RoundView, Standing, bitmap_of

SIZES = (4, 10, 50)
LIMIT = 24_576
"""EIP-170: the most bytes of code a contract may have."""
CHAIN_ID, START = 31337, 1_700_000_000
TERMS = PolicyTerms(rounds=4, min_members=2, start=3, train_seconds=60, exchange_seconds=30, final_seconds=90)
VOUCHER, NEWCOMER = b"\x77" * 32, b"\x78" * 32
TIMED = False
"""Nothing here depends on the machine."""
STEPS = ("commit_all", "freeze", "finalise")
"""The transactions of a round."""


class Clock:
    """Seconds since 1970, moved by hand."""

    def __init__(self) -> None:
        self.seconds = float(START)

    def __call__(self) -> float:
        return self.seconds


class Priced:
    """A moot of ``n`` on a chain of its own. What it costs is noted in ``prices``, by the name of the call."""

    def __init__(self, folder: Path, n: int, *, seats: int | None = None) -> None:
        path = folder / f"{n}.sqlite"
        create_chain(path, chain_id=CHAIN_ID, genesis_time=START)
        self.n = n
        self.clock = Clock()
        self._chain = EmbeddedProvider(path, clock=self.clock)
        self._web3 = Web3(self._chain)
        self.prices: dict[str, int] = {}
        voucher = statements.address_of(VOUCHER)
        told = {"name": "a moot", "seats": seats or n, "voucher": voucher, "founder": fields(0)}
        self.address = Moot.deploy(self._web3, signer(0), **told).address
        for block, contract in enumerate(CONTRACTS, 1):
            self.prices[f"deploy {contract}"] = self._chain.replica.record(block).gas
        self.moots = [self.client(number) for number in range(n)]
        self.domain = self.moots[0].domain
        for number, moot in enumerate(self.moots[1:], 1):
            self.pay("join", lambda moot=moot, number=number: moot.join(fields(number), VOUCHER))

    def client(self, number: int) -> Moot:
        return Moot(self._web3, self.address, signer(number))

    def pay(self, name: str, call: Callable[[], object]) -> None:
        """Make a call of one transaction, and note its price."""
        before = self._chain.head()
        call()
        assert self._chain.head() == before + 1, f"{name} is not one transaction"
        self.prices[name] = self._chain.replica.record(before + 1).gas

    def decide(self, name: str, kind: Kind, *words: int) -> None:
        """Move, vote until it passes, with the share of votes that the gravest need, and enact."""
        self.pay("move", lambda: self.moots[0].assembly.move(kind, *words))
        motion = self.moots[0].assembly.motions()[-1].id
        enough = self.moots[0].member_count() * Rules().grave // 100 + 1
        for moot in self.moots[1:enough]:
            self.pay("vote", lambda moot=moot: moot.assembly.vote(motion, True))
        self.pay(f"enact: {name}", lambda: self.moots[0].assembly.enact(motion))

    # ---- rounds

    def start(self, granting: int, terms: PolicyTerms = TERMS) -> int:
        """A task that is adopted, and granted by so many."""
        task: list[int] = []
        self.pay("propose", lambda: task.append(self.moots[0].propose(b"\xb0" * 32, b"\x90" * 32, terms)))
        self.decide("adopt a task", Kind.STEER, task[0], Standing.ADOPTED)
        for member, moot in enumerate(self.moots[:granting]):
            if len(moot.datasets()) < granting:
                self.pay("describe", lambda moot=moot: moot.describe(b"\xcc" * 32, 300, schema=b"\xcd" * 32))
            name = "grant, the one that opens a task" if member == terms.start - 1 else "grant"
            self.pay(name, lambda moot=moot, member=member: moot.grant(task[0], member + 1))
        return task[0]

    @property
    def signers(self) -> range:
        return range(quorum(self.n))

    def view(self, task: int) -> RoundView:
        return self.moots[0].round_view(task)

    def commit_all(self, task: int, members: Iterable[int]) -> None:
        at = self.view(task)
        where = (task, at.round, at.attempt)
        commits = {}
        for member in members:
            hash = bytes([member, at.round % 256]) * 16
            commits[member] = hash, self._sign(member, statements.commit_digest(self.domain, *where, hash))
        self.pay("commit_all", lambda: self.moots[0].commit_all(*where, commits))

    def freeze(self, task: int, held: int, name: str = "freeze") -> None:
        at = self.view(task)
        digest = statements.holding_digest(self.domain, task, at.round, at.attempt, held)
        holdings = {member: (held, self._sign(member, digest)) for member in self.signers}
        self.pay(name, lambda: self.moots[0].freeze(task, at.round, at.attempt, holdings))

    def finalise(self, task: int, name: str = "finalise") -> None:
        at = self.view(task)
        where = (task, at.round, at.attempt)
        outcome = [bytes([kind, at.round]) * 16 for kind in (1, 2, 3)]  # another each time, as in life
        digest = statements.model_digest(self.domain, *where, at.parent, *outcome, at.survivors)
        signatures = {member: self._sign(member, digest) for member in self.signers}
        self.pay(name, lambda: self.moots[0].finalise(*where, *outcome, signatures))

    def _sign(self, member: int, digest: bytes) -> bytes:
        return statements.sign(key(member), digest)

    def expel(self, task: int, member: int) -> None:
        digest = statements.expulsion_digest(self.domain, task, member, b"\xee" * 32)
        signatures = {signer: self._sign(signer, digest) for signer in self.signers}
        self.pay("expel", lambda: self.moots[0].expel(task, member, b"\xee" * 32, signatures))

    def settle(self, task: int, last: int) -> None:
        """Score, split and pay the bounty of the rounds up to ``last``."""
        purses = [moot.purse for moot in self.moots]
        salt, scores = b"\x05" * 32, b"\x06" * 40 * self.n
        self.pay("seal", lambda: purses[1].seal(task, last, seal_of(1, salt, scores)))
        self.clock.seconds += TERMS.exchange_seconds + 1
        self.pay("unseal", lambda: purses[1].unseal(task, last, salt, scores))
        weights = [1000 + member for member in range(self.n)]
        digest = statements.split_digest(purses[0].domain, task, 1, last, weights)
        signatures = {member: self._sign(member, digest) for member in self.signers}
        points = purses[0].points
        self.pay("settle", lambda: purses[0].settle(task, points, last, weights, signatures))
        self.pay("claim", lambda: purses[1].claim(points, 1))


def prices_among(n: int, folder: Path) -> dict[str, int]:
    """The price of every call in a moot of ``n``; of what is called often, in a round that is not the first."""
    moot = Priced(folder, n)
    everyone = range(n)
    moot.pay("announce", lambda: moot.moots[1].announce(["203.0.113.7:4433"]))
    task = moot.start(n, PolicyTerms(**{**vars(TERMS), "start": n}))
    moot.decide("make points", Kind.ENDOW, task, 1000)
    moot.pay("attend", lambda: moot.moots[1].attend(task))
    moot.pay("revoke", lambda: moot.moots[2].revoke(task))
    moot.moots[2].grant(task, 3)
    for round in range(1, TERMS.rounds + 1):
        if round == 2:
            for member in everyone:
                at, hash = (task, round, 0), bytes([member + 1]) * 32
                name = "commit, the last awaited" if member == n - 1 else "commit"
                moot.pay(name, lambda at=at, member=member, hash=hash: moot.moots[member].commit(*at, hash))
        else:
            moot.commit_all(task, everyone)
        moot.freeze(task, bitmap_of(everyone))
        moot.finalise(task, "finalise, the last round" if round == TERMS.rounds else "finalise")
        moot.clock.seconds += 1
    round_trip = {step: moot.prices[step] for step in STEPS}
    moot.settle(task, TERMS.rounds)
    other = moot.start(3)
    moot.pay("grant, with limits", lambda: moot.moots[3].grant(other, 4, 3.0, until=START + 10**6, rounds=9))
    moot.commit_all(other, range(3))
    moot.freeze(other, 0b111)
    moot.clock.seconds += TERMS.final_seconds + 1
    moot.pay("retry", lambda: moot.moots[0].retry(other, 1, 0))
    moot.commit_all(other, range(4))
    moot.freeze(other, 0, "freeze, too few survivors")
    moot.expel(other, 2)
    newcomer = statements.address_of(NEWCOMER)
    moot.decide("admit", Kind.ADMIT, int(newcomer, 16))
    moot.pay("join, voted for", lambda: moot.client(n).join(fields(n), NEWCOMER))
    daily = Signer(key(n + 1))
    moot.pay("delegate", lambda: moot.moots[1].assembly.delegate(daily, fields(n + 1)))
    moot.decide("remove a member", Kind.REMOVE, n)
    return {**moot.prices, **round_trip, "round": sum(round_trip.values())}


def key(number: int) -> bytes:
    return (0xF01C + number).to_bytes(32, "big")


def signer(number: int) -> Signer:
    return Signer(key(number))


def fields(number: int) -> JoinFields:
    mark = (number + 1).to_bytes(2, "big")
    return JoinFields(f"member {number}", mark * 16, b"\xee" + mark * 15 + b"\x01", b"\x03" * 64, ("203.0.113.7:4433",))


def main(argv: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="folkmoot-gas-") as folder:
        prices = {n: prices_among(n, Path(folder)) for n in SIZES}
    print_table("Of a round, of each call", [name for name in prices[10] if not name.startswith("deploy")], prices)
    print("\n| contract | bytes of code | of the limit | gas to deploy, n = 4 |\n| --- | ---: | ---: | ---: |")
    for name in CONTRACTS:
        size, gas = Interface(name).runtime_bytes, prices[4][f"deploy {name}"]
        print(f"| {name} | {size:,} | {size / LIMIT:.0%} | {gas:,} |")


def print_table(title: str, names: list[str], prices: dict[int, dict[str, int]]) -> None:
    print(f"\n| {title} | " + " | ".join(f"n = {n}" for n in prices) + " |\n| --- |" + " ---: |" * len(prices))
    ordered = ["round", *STEPS, *sorted(set(names) - {"round", *STEPS})]
    for name in ordered:
        print(f"| {name} | " + " | ".join(f"{each[name]:,}" for each in prices.values()) + " |")


if __name__ == "__main__":
    main()
