"""Shamir's secret sharing (CACM 1979) over GF(2**128), many secrets of one dealer at a time.

Shares are exactly those of pycryptodome's ``Crypto.Protocol.SecretSharing.Shamir``, and any threshold of them gives
what it gives; the tests hold both. It draws its own coefficients and takes milliseconds for a secret, where a member
has to share one for every neighbour in every round, and rebuild several for every member that falls silent.

To split, one holder's shares of all secrets are computed together. Each polynomial has a lane of 256 bits in one large
integer; to multiply by a holder's small x takes a few shifts of that integer, and what grows above bit 128 of a lane is
folded back by x**128 = x**7 + x**2 + x + 1. To combine, the holders' Lagrange coefficients are computed once for each
set of holders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, reduce
from itertools import compress
from operator import xor

__all__ = ["SHARE_BYTES", "combine", "split"]

SHARE_BYTES = 16
_LANE_BYTES = 32
_PAD = bytes(_LANE_BYTES - SHARE_BYTES)
_SPARE_BITS = 128
_MODULUS = 1 << 128 | 0b10000111
_LOW = (1 << 128) - 1


def split(secrets: Sequence[bytes], holders: Sequence[int], threshold: int, coefficients: bytes) -> list[list[bytes]]:
    """For each holder its shares of all ``secrets``, in order: 16 bytes each.

    Holder h's x is h + 1. ``coefficients`` are ``(threshold - 1) * len(secrets)`` times 16 uniform bytes, those for the
    highest power of all polynomials first. Raises ``ValueError`` on other lengths.
    """
    count = len(secrets)
    row = count * SHARE_BYTES
    if any(len(secret) != SHARE_BYTES for secret in secrets) or len(coefficients) != (threshold - 1) * row:
        raise ValueError(f"splitting {count} secrets takes {threshold - 1} coefficients of 16 bytes for each")
    rows = [coefficients[at : at + row] for at in range(0, len(coefficients), row)]
    polynomials = [_lanes(each) for each in (*rows, b"".join(secrets))]
    low = _lanes(b"\xff" * row)
    return [_shares(polynomials, low, holder + 1, count) for holder in holders]


def combine(shares: Mapping[int, bytes]) -> bytes:
    """The secret of which each holder has this share: the value at zero of the polynomial through all of them.

    It takes as many as the threshold; one that is no share of the secret makes the result another. Raises
    ``ValueError`` on a share of another length.
    """
    if any(len(share) != SHARE_BYTES for share in shares.values()):
        raise ValueError(f"a share has {SHARE_BYTES} bytes; these have {sorted(set(map(len, shares.values())))}")
    holders = tuple(sorted(shares))
    values = [int.from_bytes(shares[holder], "big") for holder in holders]
    total = 0
    for chosen in _coefficients(holders):
        total = total << 1 ^ reduce(xor, compress(values, chosen), 0)
    return _folded(total, _LOW).to_bytes(SHARE_BYTES, "big")


@lru_cache(maxsize=256)
def _coefficients(holders: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """The Lagrange coefficients at zero, as rows of bits: the highest of each holder's coefficient first.

    That of holder j is the product, over all others m, of x_m / (x_m - x_j).
    """
    coefficients = []
    for holder in holders:
        above, below = 1, 1
        for other in holders:
            if other != holder:
                above = _product(above, other + 1)
                below = _product(below, (other + 1) ^ (holder + 1))
        coefficients.append(_product(above, _inverse(below)))
    return tuple(tuple(c >> bit & 1 for c in coefficients) for bit in reversed(range(128)))


def _product(a: int, b: int) -> int:
    """The product of two elements; quick where ``b`` has few bits."""
    product = 0
    for bit in range(b.bit_length()):
        if b >> bit & 1:
            product ^= a << bit
    return _folded(product, _LOW)


def _inverse(a: int) -> int:
    """The inverse of an element that is not zero, by Euclid's algorithm on polynomials."""
    u, v, of_u, of_v = a, _MODULUS, 1, 0
    while u != 1:
        shift = u.bit_length() - v.bit_length()
        if shift < 0:
            u, v, of_u, of_v, shift = v, u, of_v, of_u, -shift
        u ^= v << shift
        of_u ^= of_v << shift
    return of_u


def _shares(polynomials: Sequence[int], low: int, x: int, count: int) -> list[bytes]:
    """The values at ``x`` by Horner's rule, lane by lane. ``low`` has the lower 128 bits of each lane set."""
    shifts = [bit for bit in range(x.bit_length()) if x >> bit & 1]
    value, grown = 0, 0
    for coefficients in polynomials:
        # A lane has room for several multiplications: folding before each would cost more than they do.
        if grown + shifts[-1] > _SPARE_BITS:
            value, grown = _folded(value, low), 0
        product = 0
        for shift in shifts:
            product ^= value << shift
        value = product ^ coefficients
        grown += shifts[-1]
    raw = _folded(value, low).to_bytes(count * _LANE_BYTES, "big")
    return [raw[at - SHARE_BYTES : at] for at in range(_LANE_BYTES, len(raw) + 1, _LANE_BYTES)]


def _folded(value: int, low: int) -> int:
    """Each lane reduced to 128 bits. The first pass leaves up to 7 bits above, the second none."""
    for _ in range(2):
        high = value >> 128 & low
        value = value & low ^ high ^ high << 1 ^ high << 2 ^ high << 7
    return value


def _lanes(row: bytes) -> int:
    """Elements of 16 bytes as one integer of 256-bit lanes, the first in the highest lane."""
    return int.from_bytes(b"".join(_PAD + row[at : at + SHARE_BYTES] for at in range(0, len(row), SHARE_BYTES)), "big")
