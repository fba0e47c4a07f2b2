"""What a bounty is paid for and to whom, as it follows from the ledger: seasons, told scores, weights."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folkmoot.errors import IntegrityError
from folkmoot.ledger.purse import MOST_SCORES, SEASON, Pot
from folkmoot.ledger.records import Final
from folkmoot.peer.season import (
    SHARE,
    beacon_of,
    begins,
    decode_told,
    due,
    encode_told,
    groups_of,
    scores_of,
    thinned,
    weights,
)
from folkmoot.task import Policy

PUBLIC = Policy(min_members=3)
GROUPED = Policy(min_members=12, secrecy="sums", robust="trimmed-mean", faults=1, clip=1.0)
WORDS = st.integers(-(1 << 46), 1 << 46)


def final(round: int, survivors: int, signers: int = 0b1111, members: int = 0b1111, dealt: int = 0) -> Final:
    digest = round.to_bytes(32, "big")
    return Final(
        1, round, 0, digest, digest, digest, digest, survivors, signers, (), members, dealt, 10 + round, 0, survivors
    )


def pot(funded: int, released: int = 0, last: int = 0) -> Pot:
    return Pot("0x", funded, released, last)


# ---- seasons


def test_a_season_has_a_hundred_rounds_and_begins_after_the_one_before():
    assert SEASON == 100
    assert [begins(last) for last in (1, 99, 100, 101, 200, 250)] == [1, 1, 1, 101, 101, 201]


@pytest.mark.parametrize(
    ("what", "final", "done", "span"),
    [
        (pot(1000), 0, False, None),
        (pot(1000), 99, False, None),
        (pot(1000), 100, False, (1, 100)),
        (pot(1000), 250, False, (1, 100)),
        (pot(1000, 50, 100), 250, False, (101, 200)),
        (pot(1000, 100, 200), 250, False, None),
        (pot(1000, 100, 200), 250, True, (201, 250)),
        (pot(1000), 7, True, (1, 7)),
        (pot(1000), 0, True, None),
        (pot(1000, 1000, 250), 250, True, None),
        (pot(1000, 50, 100), 100, True, (101, 100)),
        (pot(15), 250, False, (1, 200)),
        (pot(0), 250, True, None),
    ],
    ids=[
        "no round is final",
        "the season is not over",
        "it is",
        "the first that is not paid comes first",
        "then the next",
        "the season is not over",
        "the task is done with it",
        "the task was stopped early",
        "the task was stopped before any round",
        "all is paid",
        "stopped right after a settlement: the rest is due, for no round",
        "too little for one season is paid with the next",
        "an empty pot",
    ],
)
def test_what_is_due_next(what: Pot, final: int, done: bool, span: tuple[int, int] | None):
    assert due(what, 2000, final, done) == span


# ---- what a member tells


@given(st.dictionaries(st.integers(101, 200), st.lists(WORDS, max_size=16).map(tuple), max_size=8))
def test_what_is_told_is_read_as_it_was_written(vectors):
    assert decode_told(encode_told(vectors), 200) == dict(sorted(vectors.items()))


@given(st.binary(max_size=80))
def test_other_bytes_are_refused_or_read_as_something_that_could_be_told(data):
    try:
        told = decode_told(data, 200)
    except IntegrityError:
        return
    assert encode_told(told) == data
    assert all(101 <= round <= 200 for round in told)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (encode_told({150: (1, 2)})[:-1], "bytes"),
        (encode_told({150: (1, 2)}) + b"\0", "left over"),
        (encode_told({150: (1,)}) * 2, "is not one of 151 to 200"),
        (encode_told({100: (1,)}), "is not one of 101 to 200"),
        (encode_told({201: (1,)}), "is not one of 101 to 200"),
        (encode_told({150: (1,)})[:-1] + b"\x7f", "exceeds"),
    ],
)
def test_malformed_scores_are_refused(data, why):
    with pytest.raises(IntegrityError, match=why):
        decode_told(data, 200)


def test_all_rounds_are_told_where_they_fit_and_evenly_spaced_ones_where_not():
    assert thinned(dict.fromkeys(range(101, 201), 16), 200) == list(range(101, 201))
    many = thinned(dict.fromkeys(range(101, 201), 30), 200)
    assert many == list(range(102, 201, 2))
    assert thinned(dict.fromkeys(range(101, 151), 85), 150) == [*range(102, 151, 3)]
    told = encode_told({round: (0,) * 30 for round in many})
    assert len(told) <= MOST_SCORES


# ---- groups


def test_public_contributions_are_scored_one_by_one_up_to_sixteen_of_them():
    assert groups_of(PUBLIC, final(1, 0b1011), bytes(32)) == ((0,), (1,), (3,))
    dozens = (1 << 40) - 1
    assert groups_of(PUBLIC, final(1, dozens), bytes(32)) == (), "before any randomness was drawn nobody deals groups"
    groups = groups_of(PUBLIC, final(2, dozens), b"\x01" * 32)
    assert sorted(member for group in groups for member in group) == list(range(40))
    assert len(groups) == 13


def test_secret_contributions_are_scored_by_their_mask_groups():
    everyone = (1 << 12) - 1
    groups = groups_of(GROUPED, final(2, everyone & ~1, members=everyone, dealt=everyone), b"\x01" * 32)
    assert [len(group) for group in groups].count(4) == 2
    assert sorted(member for group in groups for member in group) == list(range(1, 12))
    assert groups_of(GROUPED, final(1, everyone, members=everyone, dealt=everyone), bytes(32)) == ()


def test_one_secret_sum_tells_nobody_apart():
    assert groups_of(Policy(secrecy="sums"), final(2, 0b1111, dealt=0b1111), b"\x01" * 32) == ()


# ---- scores and weights


def told(*vectors: tuple[int, ...], rounds: int = 3) -> dict[int, bytes]:
    return {m: encode_told({r: vector for r in range(1, rounds + 1)}) for m, vector in enumerate(vectors)}


def test_the_useful_are_paid_and_what_is_malformed_counts_for_nothing():
    finals = {round: final(round, 0b1111) for round in (1, 2, 3)}
    says = (400, 300, 200, -100)
    scores = scores_of(PUBLIC, finals, told(says, says, says, says), 3)
    assert scores[0] > scores[1] > scores[2] > 0 > scores[3]
    spoilt = told(says, says, says) | {3: b"garbage", 9: b""}
    assert scores_of(PUBLIC, finals, spoilt, 3)[0] > 0
    split = weights(finals, scores, 1, 3)
    assert sum(split) == 3 * SHARE
    assert split[0] > split[1] > split[2] > split[3] > 0, "who is of no use is paid for being there"


def test_where_no_more_tell_than_may_lie_all_are_alike():
    finals = {round: final(round, 0b1111) for round in (1, 2, 3)}
    for says in ({}, {2: encode_told({1: (9, -9, -9, -9)})}):
        scores = scores_of(PUBLIC, finals, says, 3)
        assert set(scores.values()) == {0}
        assert weights(finals, scores, 1, 3) == (3 * SHARE // 4,) * 4


def test_who_joined_after_a_round_has_no_say_in_it():
    """As many may lie as its own members allow for: one of four, and three more would be too many."""
    finals = {round: final(round, 0b1111) for round in (1, 2, 3)}
    says, lies = (400, 300, 200, -100), (-400, -400, -400, 4000)
    heard = told(says, says, says, says)
    late = heard | {member: encode_told(dict.fromkeys((1, 2, 3), lies)) for member in range(4, 9)}
    assert scores_of(PUBLIC, finals, late, 3) == scores_of(PUBLIC, finals, heard, 3)


def test_a_round_is_paid_to_those_who_took_part_in_it():
    finals = {1: final(1, 0b0111, 0b0111), 2: final(2, 0b1111)}
    first, second = weights(finals, {}, 1, 1), weights(finals, {}, 2, 2)
    assert (sum(first), first[3]) == (SHARE, 0)
    assert max(first[:3]) - min(first[:3]) <= 2
    assert tuple(a + b for a, b in zip(first, second, strict=True)) == weights(finals, {}, 1, 2)


def test_a_rest_goes_by_the_season_that_was_the_last():
    finals = {round: final(round, 0b0011, 0b0011) for round in range(99, 103)}
    assert weights(finals, {0: 3, 1: 1}, 103, 102) == weights(finals, {0: 3, 1: 1}, 101, 102)


def test_groups_are_dealt_by_the_inputs_of_the_round_before():
    finals = {round: final(round, 0b1111) for round in (1, 2)}
    assert (beacon_of(finals, 1), beacon_of(finals, 2)) == (bytes(32), finals[1].inputs)
