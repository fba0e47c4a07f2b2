"""Secure aggregation: the CPU and the bytes of one peer in one round, beside Flower's SecAgg+.

    python -m benchmarks.secagg [--members 10 50 100 256] [--words 100000 1000000 10000000]

All that one peer computes for masked sums of 16-bit values is counted: to agree with its neighbours, derive its seeds
and seal its envelope; to mask and pack its words; to open its neighbours' boxes; to unpack and sum its shards of what
the survivors sent (3 of n shards); to check the seeds that they release, rebuild those of the silent, and take the
masks off; to unpack everyone's sums. One member in twenty is lost: half of these before they upload, the others after.
Training and quantising are not counted on either side, nor is what moves bytes over a network.

Flower's functions are timed in the same run where ``flwr`` can be imported, with as many neighbours, the same threshold
and the same modulus; with it come other versions of what ``folkmoot`` uses, so give it an environment of its own. Of
its server one step of each kind is timed and multiplied by how often it is taken.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from benchmarks.flower import Cost, flower_cost
from benchmarks.report import Row, print_rows
from folkmoot.round.envelope import Envelope, seal
from folkmoot.round.groups import neighbours, released, sign
from folkmoot.round.masks import add_masks, pack_bits, signed, unpack_bits, unsigned
from folkmoot.round.plan import shard_bounds
from folkmoot.round.seeds import Secrets, agree, mask_context
from folkmoot.task.policy import share_threshold

BITS = 16
BEACON = bytes(range(32))
PARENT = bytes(range(1, 33))
JUDGED = (100, 1_000_000)
"""Members and words at which the bars hold."""
CPU_BAR, BYTES_BAR = 0.5, 3.0
"""2.9 bytes are of the word itself under its masks; the rest is the envelope, with a box for each of 99 others."""
FLOWER_SECONDS = 60.0
"""What is expected to take Flower's client longer is left out."""


@cache
def exchange(member: int) -> tuple[bytes, bytes]:
    """Secret and public exchange key of a member."""
    key = X25519PrivateKey.from_private_bytes(b"exchange".ljust(30) + member.to_bytes(2, "big"))
    return key.private_bytes_raw(), key.public_key().public_bytes_raw()


@cache
def agreed(low: int, high: int) -> bytes:
    return agree(exchange(low)[0], exchange(high)[1])


def own_secret(member: int) -> bytes:
    return b"masks".ljust(30) + member.to_bytes(2, "big")


class Group:
    """Everybody's secrets and envelopes in a group of ``n``, made before the time of one of them is taken."""

    def __init__(self, n: int) -> None:
        members = range(n)
        self.width = BITS + (n - 1).bit_length()
        self.near = neighbours(members)
        self.context = mask_context(1, bytes(20), 1, 1, 0, PARENT, BEACON, (1 << n) - 1)
        self.secrets = {m: self.secrets_of(m) for m in members}
        self.sealed = {m: seal(self.secrets[m]) for m in members}
        self.me = 0
        self.held = (0, n // 3, 2 * n // 3)
        lost = range(1, n, 20)
        self.missing, self.silent = lost[::2], lost[1::2]
        self.survivors = [m for m in members if m not in self.missing]
        self.targets = {m: released(m, self.near[m], set(self.survivors)) for m in self.survivors}
        self.shares = {dealer: self._shares(dealer) for dealer in self.silent}

    def secrets_of(self, me: int) -> Secrets:
        return Secrets(self.context, me, self.near[me], own_secret(me), lambda j: agreed(min(me, j), max(me, j)))

    def _shares(self, dealer: int) -> dict[int, dict[int, bytes]]:
        """By target, what those of the dealer's neighbours who are there send of its shares: just enough of them."""
        envelope = Envelope.parse(self.sealed[dealer], self.context, dealer, self.near[dealer])
        there = [h for h in self.near[dealer] if h not in self.missing and h not in self.silent]
        boxes = {h: envelope.open_box(self.secrets[h]) for h in there[: envelope.threshold]}
        return {target: {h: box[target] for h, box in boxes.items()} for target in self.targets[dealer]}

    def words(self, member: int, shard: int, count: int) -> NDArray[np.int64]:
        half = 1 << (BITS - 1)
        return np.random.default_rng((member, shard)).integers(-half, half, count)

    def sent(self, member: int, shard: int, start: int, count: int) -> bytes:
        words = unsigned(self.words(member, shard, count), self.width)
        add_masks(words, self.secrets[member].masks, start=start)
        return pack_bits(words, self.width)


class Stopwatch:
    """CPU seconds by the name of what they went into."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        began = time.process_time()
        yield
        self.seconds[name] += time.process_time() - began


@dataclass(frozen=True)
class Spent:
    """CPU seconds of one peer by step, and the bytes of its packed words and its envelope."""

    seconds: dict[str, float]
    words: int
    envelope: int

    @property
    def total(self) -> float:
        return sum(self.seconds.values())


def one_peer(group: Group, count: int) -> Spent:
    """One peer's round over ``count`` words. Fails if what it unmasks is not the plain sum."""
    n, me, context, width = len(group.near), group.me, group.context, group.width
    bounds = shard_bounds(count, n)
    sizes = [b - a for a, b in bounds]
    mine = np.concatenate([group.words(me, s, size) for s, size in enumerate(sizes)])
    arrived = {s: [group.sent(m, s, bounds[s][0], sizes[s]) for m in group.survivors] for s in group.held}
    plain = [sum(group.words(m, s, sizes[s]) for m in group.survivors) for s in group.held]
    timed = Stopwatch()
    with timed("agree with neighbours"):
        shared = {j: agree(exchange(me)[0], exchange(j)[1]) for j in group.near[me]}
    with timed("derive, share and seal"):
        secrets = Secrets(context, me, group.near[me], own_secret(me), shared.__getitem__)
        envelope = seal(secrets)
    with timed("mask and pack"):
        masked = unsigned(mine, width)
        add_masks(masked, secrets.masks, start=0)
        packed = [pack_bits(masked[a:b], width) for a, b in bounds]
    with timed("open boxes"):
        envelopes = {m: Envelope.parse(data, context, m, group.near[m]) for m, data in group.sealed.items()}
        for dealer in group.near[me]:
            envelopes[dealer].open_box(secrets)
    with timed("check seeds"):
        seeds = released_seeds(group, envelopes)
    with timed("rebuild seeds"):
        for dealer, targets in group.shares.items():
            seeds += [(-sign(dealer, t), envelopes[dealer].recover(t, shares)) for t, shares in targets.items()]
    with timed("sum and unmask"):
        sums = [unmasked(group, seeds, arrived[s], bounds[s]) for s in group.held]
    for found, due in zip(sums, plain, strict=True):
        assert np.array_equal(found, due)
    with timed("unpack all sums"):
        for size, data in zip(sizes, packed, strict=True):
            signed(unpack_bits(data, size, width), width)
    return Spent(dict(timed.seconds), sum(map(len, packed)), len(envelope))


def released_seeds(group: Group, envelopes: dict[int, Envelope]) -> list[tuple[int, bytes]]:
    """What is taken off for the seeds of those who are there, each checked."""
    seeds = []
    for dealer, targets in group.targets.items():
        if dealer not in group.silent:
            told = group.secrets[dealer].seeds
            assert all(envelopes[dealer].check_seed(target, told[target]) for target in targets)
            seeds += [(-sign(dealer, target), told[target]) for target in targets]
    return seeds


def unmasked(
    group: Group, seeds: Sequence[tuple[int, bytes]], arrived: Sequence[bytes], bounds: tuple[int, int]
) -> NDArray[np.int64]:
    """The sum of one shard."""
    start, stop = bounds
    total = unpack_bits(arrived[0], stop - start, group.width)
    for data in arrived[1:]:
        total += unpack_bits(data, stop - start, group.width)
    add_masks(total, seeds, start=start)
    return signed(total, group.width)


def rows_of(group: Group, count: int, flower: Cost | str) -> tuple[list[Row], Spent]:
    """One peer and Flower at this number of words; ``flower`` says why where there is nothing to compare with."""
    spent, size = one_peer(group, count), len(group.near)
    each = (spent.words + spent.envelope) / count
    judged = (size, count) == JUDGED
    name = f"d = {count:,}"
    rows = [
        _row(f"{name}, one peer", spent.total, "s CPU", CPU_BAR if judged else None),
        _row(f"{name}, its words and envelope", each, "bytes a word", BYTES_BAR if judged else None),
    ]
    if isinstance(flower, str):
        return [*rows, Row(f"{name}, Flower: {flower}", math.nan, "", "", None, None)], spent
    wide = flower.bytes / count
    rows += [
        Row(f"{name}, Flower's client", flower.client, "s CPU", "one peer", flower.client / spent.total, None),
        Row(f"{name}, Flower's server", flower.server, "s CPU", "one peer", flower.server / spent.total, None),
        Row(f"{name}, what Flower's client sends", wide, "bytes a word", "one peer", wide / each, None),
    ]
    return rows, spent


def _row(name: str, value: float, unit: str, bar: float | None) -> Row:
    if bar is None:
        return Row(name, value, unit, "", None, None)
    return Row(name, value, unit, f"{bar:g} {unit}", value / bar, 1.0)


class Flower:
    """Flower's cost at one number of members, for as many words as it can take in the time there is."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.per_word = 0.0

    def cost(self, count: int) -> Cost | str:
        """The cost, or why there is none."""
        if self.per_word * count > FLOWER_SECONDS:
            return f"left out, its client would take {self.per_word * count:,.0f} s"
        n, k = len(self.group.near), len(self.group.near[0])
        try:
            found = flower_cost(n, k, count, share_threshold(k), 1 << self.group.width, len(self.group.missing))
        except ImportError as error:
            return f"cannot be imported here ({error})"
        self.per_word = found.client / count
        return found


def main(argv: list[str] | None = None) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, nargs="+", default=[10, 50, 100, 256])
    parser.add_argument("--words", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    options = parser.parse_args(argv)
    everything = []
    for n in options.members:
        group = Group(n)
        flower = Flower(group)
        rows, steps = [], []
        for count in sorted(options.words):
            made, spent = rows_of(group, count, flower.cost(count))
            rows += made
            if (n, count) == JUDGED:
                steps = [Row(step, seconds * 1000, "ms CPU", "", None, None) for step, seconds in spent.seconds.items()]
        lost = f"{len(group.missing)} lost before the upload, {len(group.silent)} after"
        print_rows(f"Secure aggregation: {n} members, {len(group.near[0])} neighbours each, {lost}", rows)
        if steps:
            print_rows(f"One peer of {n}, {JUDGED[1]:,} words, by step", steps)
        everything += rows + steps
    return everything


if __name__ == "__main__":
    main()
