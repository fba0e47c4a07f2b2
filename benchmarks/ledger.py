"""The embedded chain: transactions per second, flat or not, and opening a long history.

    python -m benchmarks.ledger [--sizes 10000 100000]

The work is the moot's own contracts: 32 members propose, grant and commit, one transaction each; one of them has the
weight that adopts a task by itself. Signing is done before
the clock starts, because in a moot every member signs its own. Appending includes all that a transaction costs the
process that sends it: checking the signature, running the contract, the SQLite commit, sealing the cache.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from web3 import Web3

from benchmarks.report import Row, print_rows
from folkmoot.ledger import EmbeddedProvider, JoinFields, Moot, Signer, create_chain, statements
from folkmoot.ledger.abi import MOOT
from folkmoot.ledger.assembly import ASSEMBLY
from folkmoot.ledger.motions import Kind
from folkmoot.ledger.records import Standing
from folkmoot.ledger.transaction import sign_legacy

MEMBERS = 32
VOUCHER = b"\x77" * 32
BAR = 1000.0
"""Transactions per second."""
THOUSAND = 1000
TITLE = "Embedded chain"


class Load:
    """A moot on a new chain, and a stream of its members' transactions."""

    def __init__(self, path: Path):
        self.chain_id = create_chain(path, genesis_time=int(time.time()))
        self.provider = EmbeddedProvider(path)
        w3 = Web3(self.provider)
        self.signers = [Signer((i + 1).to_bytes(32, "big")) for i in range(MEMBERS)]
        voucher = statements.address_of(VOUCHER)
        moot = Moot.deploy(w3, self.signers[0], name="load", seats=MEMBERS, voucher=voucher, founder=fields(0))
        moots = [Moot(w3, moot.address, signer) for signer in self.signers]
        for i, each in enumerate(moots[1:], start=1):
            each.join(fields(i), VOUCHER)
        self.datasets = [each.describe(bytes([9]) * 32, 100) for each in moots]
        weight = moot.assembly.move(Kind.WEIGH, 0, 1000)
        for each in moots[1:]:
            each.assembly.vote(weight, True)
        moot.assembly.enact(weight)
        self.motions = itertools.count(weight + 1)
        self.address, self.assembly = moot.address, moot.assembly.address
        self.nonces = [self.provider.replica.account(signer.address)[0] for signer in self.signers]

    def transactions(self) -> Iterator[bytes]:
        """Signed, in an order in which each succeeds, without end."""
        for task in itertools.count(1):
            terms = (20, MEMBERS, MEMBERS, 3600, 3600, 3600, 0)
            hash = task.to_bytes(32, "big")
            yield self._signed(0, self.address, MOOT.call("propose", hash, hash, terms))
            steer = ASSEMBLY.call("move", int(Kind.STEER), (task, int(Standing.ADOPTED), 0), bytes(32))
            yield self._signed(0, self.assembly, steer)
            yield self._signed(0, self.assembly, ASSEMBLY.call("enact", next(self.motions)))
            for i in range(MEMBERS):
                yield self._signed(i, self.address, MOOT.call("grant", task, self.datasets[i], 0, 0, 0))
            for i in range(MEMBERS):
                hash = ((task << 128) + i + 1).to_bytes(32, "big")
                yield self._signed(i, self.address, MOOT.call("commit", task, 1, 0, hash))

    def _signed(self, member: int, to: str, data: bytes) -> bytes:
        nonce, self.nonces[member] = self.nonces[member], self.nonces[member] + 1
        return sign_legacy(self.signers[member].key, self.chain_id, nonce, to, data, gas=500_000, gas_price=0)


def fields(number: int) -> JoinFields:
    mark = bytes([number + 1])
    return JoinFields(f"member {number}", mark * 32, mark[::-1] * 31 + b"\xff", mark * 64)


def main(argv: list[str] | None = None) -> list[Row]:
    """Run it all; the rows, also printed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000], help="history lengths to open")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="folkmoot-benchmark-") as folder:
        rows = measure(Path(folder) / "ledger", sorted(arguments.sizes))
    print_rows(TITLE, rows)
    return rows


def measure(path: Path, sizes: list[int]) -> list[Row]:
    load = Load(path)
    follower = EmbeddedProvider(path)
    stream = load.transactions()
    rates: list[float] = []
    followed: list[float] = []
    opening: list[Row] = []
    for size in sizes:
        while load.provider.head() < size:
            raws = list(itertools.islice(stream, min(THOUSAND, size - load.provider.head())))
            began = time.perf_counter()
            for raw in raws:
                load.provider.send(raw)
            middle = time.perf_counter()
            follower.head()
            if len(raws) == THOUSAND:
                rates.append(THOUSAND / (middle - began))
                followed.append(THOUSAND / (time.perf_counter() - middle))
        opening += opening_rows(path, size)
    gas = load.provider.replica.record(load.provider.head()).gas
    return [*rate_rows(rates, followed, gas), *opening, *small_rows(load)]


def rate_rows(rates: list[float], followed: list[float], gas: int) -> list[Row]:
    if len(rates) < 2:
        raise SystemExit("measure at least 3,000 transactions: --sizes 3000")
    few = max(1, min(5, len(rates) // 2))
    first, last = statistics.median(rates[:few]), statistics.median(rates[-few:])
    rate, follow = statistics.median(rates), statistics.median(followed)
    against = f"{BAR:,.0f} tx/s"
    return [
        Row(f"appended by one process ({gas:,} gas each)", rate, "tx/s", against, rate / BAR, 1.0),
        Row("followed by another process", follow, "tx/s", against, follow / BAR, 1.0),
        Row(
            f"the last {few},000 of {len(rates)},000", last, "tx/s", f"the first: {first:,.0f} tx/s", last / first, 0.8
        ),
    ]


def opening_rows(path: Path, size: int) -> list[Row]:
    cached = min(opening_seconds(path, trust_cache=True) for _ in range(3))
    replayed = opening_seconds(path, trust_cache=False)
    name = f"open after {size:,} transactions"
    return [
        Row(f"{name}, cache", cached, "s", f"replay: {replayed:.1f} s", cached / replayed, None),
        Row(f"{name}, no cache", replayed, "s", "", None, None),
        Row(f"ledger file at {size:,}", path.stat().st_size / size, "bytes/tx", "", None, None),
    ]


def opening_seconds(path: Path, *, trust_cache: bool) -> float:
    began = time.perf_counter()
    provider = EmbeddedProvider(path, trust_cache=trust_cache)
    seconds = time.perf_counter() - began
    provider.close()
    return seconds


def small_rows(load: Load) -> list[Row]:
    data = MOOT.call("round_view", 1)
    times = 2000
    began = time.perf_counter()
    for _ in range(times):
        load.provider.head()
    middle = time.perf_counter()
    for _ in range(times):
        load.provider.call(load.address, data)
    end = time.perf_counter()
    return [
        Row("head() when nothing changed", (middle - began) / times * 1e6, "us", "", None, None),
        Row("call() of round_view", (end - middle) / times * 1e6, "us", "", None, None),
    ]


if __name__ == "__main__":
    main()
