"""Masked sums: exact for those who may know them, noise for all others.

``golden/masks.json`` was made by ``python tests/round/test_masks.py``; make it anew only with a new format version.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from Crypto.Cipher import AES
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_group import BEACON, Group, context_of

from folkmoot.digest import blob_hash
from folkmoot.errors import IntegrityError
from folkmoot.round.groups import deal, released
from folkmoot.round.masks import Unsigned, add_masks, pack_bits, signed, unpack_bits, unsigned
from folkmoot.round.shamir import combine
from folkmoot.task.policy import share_threshold

GOLDEN = Path(__file__).with_name("golden") / "masks.json"
untimed = settings(deadline=None, max_examples=60)
SEED = bytes(range(16))


def keystream(count: int, kind: str, start: int = 0, *, side: bool = False) -> Unsigned:
    words = np.zeros(count, dtype=kind)
    add_masks(words, [(1, SEED)], start=start, side=side)
    return words


@untimed
@given(st.integers(1, 64), st.lists(st.integers(0, 2**64 - 1), max_size=300))
def test_packed_words_are_the_digits_of_one_number(width: int, words: list[int]) -> None:
    number = sum((word & (1 << width) - 1) << place * width for place, word in enumerate(words))
    size = -(-len(words) * width // 8)
    packed = pack_bits(np.array(words, dtype=np.uint64), width)
    assert packed == number.to_bytes(size, "little")
    back = unpack_bits(packed, len(words), width)
    assert back.dtype == (np.uint32 if width <= 32 else np.uint64)
    assert back.tolist() == [word & (1 << width) - 1 for word in words]


@pytest.mark.parametrize("width", [23, 31, 33, 40])
def test_many_words_are_packed_as_few_are(width: int) -> None:
    """More than are packed at a time."""
    words = np.random.default_rng(1).integers(0, 1 << width, 150_001, dtype=np.uint64)
    packed = pack_bits(words, width)
    half = 8 * (len(words) // 16)
    assert packed == pack_bits(words[:half], width) + pack_bits(words[half:], width)
    assert np.array_equal(unpack_bits(packed, len(words), width), words)


def test_packed_words_of_another_size_are_refused() -> None:
    """defence: unpack_bits' check."""
    for data in (bytes(2), bytes(4)):
        with pytest.raises(IntegrityError, match="where 3 words of 7 bits are due"):
            unpack_bits(data, 3, 7)
    for width in (0, 65):
        with pytest.raises(ValueError, match="1 to 64 bits"):
            unpack_bits(b"", 0, width)


@untimed
@given(st.integers(1, 64), st.data())
def test_signed_words_come_back_from_their_remainders(width: int, data: st.DataObject) -> None:
    half = 1 << (width - 1)
    words = np.array(data.draw(st.lists(st.integers(-half, half - 1), max_size=9)), dtype=np.int64)
    remainders = unpack_bits(pack_bits(unsigned(words, width), width), len(words), width)
    assert signed(remainders, width).tolist() == words.tolist()
    assert signed(unsigned(words, width), width).tolist() == words.tolist()


@pytest.mark.parametrize("kind", ["<u4", "<u8"])
def test_a_mask_is_what_another_library_makes_of_the_seed(kind: str) -> None:
    """AES of the block's number, by pycryptodome."""
    blocks = b"".join(block.to_bytes(16, "big") for block in range(40))
    assert keystream(640 // int(kind[2]), kind).tobytes() == AES.new(SEED, AES.MODE_ECB).encrypt(blocks)


@pytest.mark.parametrize("kind", ["<u4", "<u8"])
@pytest.mark.parametrize("start", [1, 2, 3, 4, 5, 1000, 32_767])
def test_who_holds_a_shard_expands_its_words_only(kind: str, start: int) -> None:
    whole = keystream(40_000, kind)
    assert np.array_equal(whole[start:], keystream(40_000 - start, kind, start))


def test_side_words_never_meet_the_mask_of_value_words() -> None:
    """defence: _SIDE_BLOCK. Two plaintexts under one piece of keystream show their difference."""
    assert not set(keystream(5000, "<u8").tolist()) & set(keystream(5000, "<u8", side=True).tolist())


def test_a_mask_added_and_taken_off_leaves_the_words() -> None:
    words = np.random.default_rng(2).integers(0, 1 << 32, 1000, dtype=np.uint32)
    changed = words.copy()
    add_masks(changed, [(1, SEED), (1, bytes(16))], start=7)
    assert not np.array_equal(changed, words)
    add_masks(changed, iter([(-1, bytes(16)), (-1, SEED)]), start=7)
    assert np.array_equal(changed, words)


def test_words_and_seeds_that_cannot_be_masked_are_refused() -> None:
    for words, seed, side in (
        (np.zeros(3, dtype=np.int64), SEED, False),
        (np.zeros(3, dtype=np.uint16), SEED, False),
        (np.zeros(3, dtype=np.uint32), SEED, True),
        (np.zeros(3, dtype=np.uint32), b"short", False),
    ):
        with pytest.raises(ValueError, match=r"masks are added to|seed has 16 bytes"):
            add_masks(words, [(1, seed)], start=0, side=side)  # type: ignore[arg-type]


@st.composite
def rounds(draw: st.DrawFn) -> tuple[int, set[int], set[int], set[int]]:
    """A group's size, and its members who are missing before the upload, gone after it, and liars."""
    n = draw(st.one_of(st.integers(3, 12), st.integers(33, 40)))
    k = n - 1
    order = draw(st.permutations(range(n)))
    bad = draw(st.integers(0, k - share_threshold(k) + 1))
    first, second = sorted((draw(st.integers(0, bad)), draw(st.integers(0, bad))))
    missing, gone, liars = order[:first], order[first:second], order[second:bad]
    return n, set(missing), set(gone), set(liars)


@settings(deadline=None, max_examples=30)
@given(rounds(), st.sampled_from([8, 16, 32, 48]), st.integers(0, 2**32))
def test_the_unmasked_sum_is_the_plain_sum_whoever_is_missing(
    round_: tuple[int, set[int], set[int], set[int]], bits: int, random_seed: int
) -> None:
    """With nothing but the packed words, the envelopes, and what those who are left release.

    Some members are missing before they upload, some fall silent after, and some tell other seeds and shares.
    """
    n, missing, gone, liars = round_
    random = np.random.default_rng(random_seed)
    group = Group(range(n), beacon=BEACON)
    width, half = bits + (n - 1).bit_length(), 1 << (bits - 1)
    words = random.integers(-half, half, (n, 9))
    words[:, 0], words[:, 1] = half - 1, -half
    side = random.integers(-(1 << 46), 1 << 46, (n, 3))
    survivors = sorted(set(range(n)) - missing)
    for plain, shape, kind in ((words, (9, width), False), (side, (3, 64), True)):
        sent = {m: group.masked(m, plain[m], shape[1], side=kind) for m in survivors}
        made = group.unmasked(sent, survivors, gone | missing, liars, shape, side=kind)
        assert made.tolist() == plain[survivors].sum(axis=0).tolist()


def chi_squared(words: Unsigned, width: int) -> float:
    """The statistic of the words' lowest or of their highest byte, the larger; each has 255 degrees of freedom."""
    found = []
    for shift in (0, width - 8):
        counts = np.bincount((words >> words.dtype.type(shift) & words.dtype.type(255)).astype(np.int64), minlength=256)
        expected = len(words) / 256
        found.append(float(((counts - expected) ** 2 / expected).sum()))
    return max(found)


UNIFORM = 340.0
"""Uniform bytes exceed it with a probability below 1 in 3000; nothing here is random, so none does."""
N, WIDTH, COUNT = 9, 20, 50_000
SECRET = np.arange(COUNT, dtype=np.int64) % 100
"""Every honest member's words: what cannot be told from noise hides even these."""


def left(group: Group, member: int, known: list[tuple[int, bytes]]) -> Unsigned:
    """The masked words of one member without the masks that are known."""
    words = unpack_bits(group.masked(member, SECRET, WIDTH), COUNT, WIDTH)
    add_masks(words, [(-sign, seed) for sign, seed in known], start=0)
    return words & np.uint32((1 << WIDTH) - 1)


def known_to(group: Group, member: int, colluders: set[int], survivors: set[int] | None) -> list[tuple[int, bytes]]:
    """The masks of a member that colluders know: those they share, and once survivors are fixed what was released."""
    seeds = group.secrets[member].seeds
    targets = {t for t in seeds if t in colluders}
    if survivors is not None:
        targets |= set(released(member, group.near[member], survivors))
        targets |= {j for j in group.near[member] if member in released(j, group.near[j], survivors)}
    return [(1 if member <= t else -1, seeds[t]) for t in seeds if t in targets]


COLLUDERS = set(range(share_threshold(N - 1) - 1))
HONEST = sorted(set(range(N)) - COLLUDERS)


def test_before_survivors_are_fixed_colluders_below_the_threshold_see_noise() -> None:
    """defence: self masks."""
    group = Group(range(N))
    for member in HONEST:
        assert chi_squared(left(group, member, known_to(group, member, COLLUDERS, None)), WIDTH) < UNIFORM


def test_of_a_survivor_colluders_see_noise_after_the_release_too() -> None:
    """defence: pair masks between survivors, which released never names."""
    group = Group(range(N))
    for survivors in (set(range(N)), set(range(N)) - {0, HONEST[-1]}):
        for member in set(HONEST) & survivors:
            assert chi_squared(left(group, member, known_to(group, member, COLLUDERS, survivors)), WIDTH) < UNIFORM


def test_of_one_who_uploaded_and_did_not_survive_colluders_see_noise() -> None:
    """defence: released gives nothing of a dealer that did not survive. All its pair masks are known by then."""
    group, late = Group(range(N)), HONEST[0]
    known = known_to(group, late, COLLUDERS, set(range(N)) - {late})
    assert len(known) == N - 1
    assert chi_squared(left(group, late, known), WIDTH) < UNIFORM


def test_with_one_share_of_the_last_seed_too_few_colluders_see_noise() -> None:
    """defence: share_threshold."""
    group, late = Group(range(N)), HONEST[0]
    known = known_to(group, late, COLLUDERS, set(range(N)) - {late})
    shares = {h: group.share(h, late, late) for h in COLLUDERS}
    guesses = [combine(shares), combine({**shares, HONEST[1]: bytes(16)}), combine({**shares, HONEST[1]: b"\1" * 16})]
    for guess in guesses:
        assert chi_squared(left(group, late, [*known, (1, guess)]), WIDTH) < UNIFORM


def test_with_enough_shares_the_words_lie_open() -> None:
    """What the tests above would find, were there no defence."""
    group, late = Group(range(N)), HONEST[0]
    known = known_to(group, late, COLLUDERS, set(range(N)) - {late})
    shares = {h: group.share(h, late, late) for h in (*COLLUDERS, HONEST[1])}
    words = left(group, late, [*known, (1, group.envelopes[late].recover(late, shares))])
    assert words.tolist() == SECRET.tolist()
    assert chi_squared(words, WIDTH) > 100 * UNIFORM


def test_the_same_words_sent_in_two_attempts_have_nothing_in_common() -> None:
    """defence: mask_context's attempt. With masks used again, the difference would be zero everywhere."""
    first, second = Group(range(N)), Group(range(N), attempt=1)
    difference = left(first, HONEST[0], []) - left(second, HONEST[0], [])
    assert chi_squared(difference & np.uint32((1 << WIDTH) - 1), WIDTH) < UNIFORM


def formats() -> dict[str, object]:
    """Everything that members must compute alike."""
    made: dict[str, object] = {}
    words = np.array([0, 1, 2**64 - 1, 0x0123456789ABCDEF, 2**63], dtype=np.uint64)
    for width in (1, 7, 12, 18, 23, 31, 32, 35, 56, 64):
        made[f"pack {width}"] = pack_bits(words, width).hex()
    for kind, start, side in (("<u4", 0, False), ("<u4", 5, False), ("<u8", 3, False), ("<u8", 0, True)):
        made[f"mask {kind} {start} {side}"] = keystream(5, kind, start, side=side).tobytes().hex()
    made["groups"] = deal(BEACON, range(14), 4)
    made["context"] = context_of((0, 3, 200), chain_id=5, task=6, round=7, attempt=8, beacon=BEACON).hex()
    group = Group((0, 3, 200))
    secrets = group.secrets[3]
    made["seeds"] = {str(target): seed.hex() for target, seed in secrets.seeds.items()}
    made["signs"] = [sign for sign, _ in secrets.masks]
    made["box keys"] = [secrets.box_key(3, 200).hex(), secrets.box_key(200, 3).hex()]
    made["coefficients"] = secrets.coefficients(2).hex()
    made["envelope"] = group.envelopes[3].data.hex()
    made["share"] = group.share(200, 3, 0).hex()
    made["large envelope"] = blob_hash(Group(range(34), beacon=BEACON).envelopes[5].data).hex()
    made["masked"] = group.masked(3, np.array([-1, 0, 1, 32767, -32768]), 18).hex()
    return made


def test_formats_have_not_moved() -> None:
    golden = json.loads(GOLDEN.read_text())
    made = json.loads(json.dumps(formats()))
    assert golden.keys() == made.keys()
    for name, value in golden.items():
        assert made[name] == value, f"{name} moved"


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(formats(), indent=1) + "\n")
