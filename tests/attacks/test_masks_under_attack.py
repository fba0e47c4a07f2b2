"""What members can do against the masks of one of them, and what stops them.

Each test says in its docstring which line it would miss; ``tests/mutations`` takes those lines out and sees it fail.
"""

from __future__ import annotations

import itertools

import pytest
from coalition import UNIFORM, Coalition, chi_squared
from mask_table import COUNT, LAYOUT, Table, bits

from folkmoot.digest import blob_hash
from folkmoot.errors import IntegrityError, ProtocolError
from folkmoot.round.masks import unpack_bits
from folkmoot.task.policy import quota, share_threshold

N = 7
ALL = bits(range(N))
HOLDERS = N - 1
ENOUGH = share_threshold(HOLDERS)
VICTIM = 6
COLLUDERS = tuple(range(ENOUGH - 1))
"""One fewer than it takes. There are two honest members besides the victim."""
HONEST = tuple(range(ENOUGH - 1, N))
WIDTH = 19


@pytest.fixture(scope="module")
def table() -> Table:
    return Table(N).pass_envelopes()


@pytest.fixture
def fresh() -> Table:
    """One whose members were asked nothing yet."""
    return Table(N).pass_envelopes()


# ---- how many it takes -------------------------------------------------------------------------------------------


def test_whoever_listens_sees_noise_whatever_all_members_say_once_survivors_are_fixed(fresh: Table) -> None:
    """defence: released, which never names a seed between two survivors."""
    nobody = fresh.coalition()
    fresh.tell_all(nobody, ALL)
    assert all(nobody.known(member) == {member} for member in range(N))
    assert all(nobody.sees_noise(member, fresh.sent[member], LAYOUT) for member in range(N))


@pytest.mark.parametrize("lost", [(), (4,), (0,), (0, 4)], ids=str)
def test_colluders_one_below_the_threshold_see_noise_in_place_of_a_survivor_and_the_sum_is_exact(
    fresh: Table, lost: tuple[int, ...]
) -> None:
    """defence: share_threshold; released, which never names a seed between two survivors."""
    survivors = [member for member in range(N) if member not in lost]
    coalition = fresh.coalition(COLLUDERS)
    fresh.tell_all(coalition, bits(survivors))
    for member in set(HONEST) - set(lost):
        assert not coalition.reads(member)
        assert coalition.sees_noise(member, fresh.sent[member], LAYOUT)
    released = {m: fresh.maskings[m].release(bits(survivors)) for m in survivors}
    assert fresh.total(released).tolist() == fresh.plain(survivors).tolist()


def test_as_many_colluders_as_the_threshold_read_everyone_without_asking(table: Table) -> None:
    """What the tests around this one would find if there were no defence: it is as docs/privacy.md says, and exact."""
    coalition = table.coalition(range(ENOUGH))
    for member in (VICTIM, VICTIM - 1):
        assert coalition.reads(member)
        assert coalition.read(member, table.sent[member], LAYOUT).tolist() == table.words(member).tolist()
        assert not coalition.sees_noise(member, table.sent[member], LAYOUT)


@pytest.mark.parametrize("n", [4, 5, 6, 7, 8])
def test_the_threshold_is_more_than_two_thirds_of_the_holders_and_not_one_more(n: int) -> None:
    """defence: share_threshold."""
    small = Table(n)
    enough = share_threshold(n - 1)
    assert 3 * (enough - 1) <= 2 * (n - 1) < 3 * enough
    assert not small.coalition(range(enough - 1)).reads(n - 1)
    assert small.coalition(range(enough)).reads(n - 1)


def test_whoever_lacks_a_members_keys_makes_none_of_its_secrets(table: Table) -> None:
    """defence: Secrets derives all it has from the own secret, or from what X25519 agrees between two.

    A colluder that computes in the victim's place, with its own keys, has nothing in common with the victim.
    """
    own = table.maskings[VICTIM].secrets
    thief = table.masking(VICTIM, keys_of=COLLUDERS[0]).secrets
    assert own is not None
    assert thief is not None
    assert not set(own.seeds.values()) & set(thief.seeds.values())
    for near in HONEST[:-1]:
        for pair in ((VICTIM, near), (near, VICTIM)):
            assert own.box_key(*pair) != thief.box_key(*pair)
    assert own.coefficients(1) != thief.coefficients(1)


# ---- model inconsistency -----------------------------------------------------------------------------------------

OTHER = blob_hash(b"another parent state")


def test_a_member_that_is_shown_another_model_than_the_rest_is_not_taken_for_one_of_them() -> None:
    """defence: mask_context's parent. Its envelope is made for another context, so none of its boxes opens."""
    torn = Table(N, parents={VICTIM: OTHER})
    for member in range(N - 1):
        with pytest.raises(IntegrityError, match="does not open"):
            torn.maskings[member].take_envelope(VICTIM, torn.envelopes[VICTIM], whole=True)
        with pytest.raises(IntegrityError, match="does not open"):
            torn.maskings[VICTIM].take_envelope(member, torn.envelopes[member], whole=True)


def test_of_a_member_that_is_shown_another_model_the_sum_shows_noise() -> None:
    """defence: mask_context's parent. A model made for one member would else tell in the sum what that one answered
    to it (Pasquini, Francati, Ateniese 2022, https://eprint.iacr.org/2021/1567)."""
    torn = Table(N, parents={VICTIM: OTHER})
    released = {m: torn.maskings[m].release(ALL) for m in range(N)}
    left = torn.total(released) - torn.plain(range(N - 1))
    assert chi_squared(left.astype("<u4"), WIDTH) < UNIFORM


# ---- a late contribution -----------------------------------------------------------------------------------------


def test_what_a_member_sent_that_was_declared_lost_stays_noise(fresh: Table) -> None:
    """defence: released gives nothing of a dealer that did not survive. All its pair masks are known by then."""
    survivors = bits(range(N)) & ~(1 << VICTIM)
    coalition = fresh.coalition(COLLUDERS)
    fresh.tell_all(coalition, survivors)
    assert coalition.known(VICTIM) == set(range(N)) - {VICTIM}
    assert coalition.sees_noise(VICTIM, fresh.sent[VICTIM], LAYOUT)
    assert fresh.maskings[VICTIM].release(survivors) == {}
    assert all(not masking.shares(VICTIM, survivors) for masking in fresh.maskings.values())


# ---- replays -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def earlier() -> Table:
    return Table(N, attempt=1).pass_envelopes()


def test_shares_of_another_attempt_are_refused(fresh: Table, earlier: Table) -> None:
    """defence: Masking.take_shares' check_share."""
    replayed = earlier.maskings[1].shares(VICTIM, ALL)
    assert replayed
    with pytest.raises(IntegrityError, match="the share of member 2 of a seed of member 7 is not what was dealt"):
        fresh.maskings[0].take_shares(1, VICTIM, ALL, replayed)


def test_seeds_of_another_attempt_are_refused(fresh: Table, earlier: Table) -> None:
    """defence: Masking.take_seeds' check_seed."""
    replayed = earlier.maskings[VICTIM].release(ALL)
    with pytest.raises(IntegrityError, match="is not the one it committed to"):
        fresh.maskings[0].take_seeds(VICTIM, ALL, replayed)


def test_another_members_shares_are_refused(fresh: Table) -> None:
    """defence: envelope._tags binds the holder."""
    copied = fresh.maskings[1].shares(VICTIM, ALL)
    with pytest.raises(IntegrityError, match="the share of member 3"):
        fresh.maskings[0].take_shares(2, VICTIM, ALL, copied)


def test_an_envelope_of_another_attempt_is_not_taken(earlier: Table) -> None:
    """defence: mask_context's attempt."""
    late = Table(N)
    with pytest.raises(IntegrityError, match="does not open"):
        late.maskings[0].take_envelope(VICTIM, earlier.envelopes[VICTIM], whole=True)


# ---- mask keys over attempts ---------------------------------------------------------------------------------------


def test_the_same_words_sent_in_two_attempts_have_nothing_in_common(table: Table, earlier: Table) -> None:
    """defence: mask_context's attempt. With masks used again, the difference would be zero everywhere."""
    first, second = (unpack_bits(t.sent[VICTIM][: COUNT * WIDTH // 8], COUNT, WIDTH) for t in (table, earlier))
    assert chi_squared(first - second & first.dtype.type((1 << WIDTH) - 1), WIDTH) < UNIFORM


def test_seeds_that_were_opened_in_one_attempt_open_nothing_of_the_next(earlier: Table) -> None:
    """defence: mask_context's attempt. The victim was lost in one and survives in the other: used again, the seeds of
    both would be all there are."""
    first, second = Table(N).pass_envelopes(), Table(N, attempt=1).pass_envelopes()
    before, after = first.coalition(COLLUDERS), second.coalition(COLLUDERS)
    first.tell_all(before, ALL & ~(1 << VICTIM))
    second.tell_all(after, ALL)
    for (dealer, _target), seed in before.seeds.items():
        assert seed not in second.maskings[dealer].secrets.seeds.values()  # type: ignore[union-attr]
    after.seeds |= before.seeds
    assert after.sees_noise(VICTIM, second.sent[VICTIM], LAYOUT)


# ---- two survivor sets ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", [ALL, ALL & ~(1 << 4), 1 << VICTIM], ids=bin)
def test_who_was_asked_with_one_set_of_survivors_tells_nothing_for_one_that_has_others(
    fresh: Table, second: int
) -> None:
    """defence: Masking.targets compares with the survivors that it was asked with first."""
    for masking in fresh.maskings.values():
        masking.release(ALL & ~(1 << VICTIM))
        with pytest.raises(ProtocolError, match="nothing is told for two sets"):
            masking.release(second)
        for dealer in (VICTIM, 0):
            with pytest.raises(ProtocolError, match="nothing is told for two sets"):
                masking.shares(dealer, second)


def test_lying_survivor_sets_neither_add_nor_remove_what_is_taken_from_others(fresh: Table) -> None:
    """defence: Masking.take_seeds wants all that is due, and nothing else: too few would leave a mask on the sum, too
    many would put a seed into the record that must stay secret."""
    honest = fresh.maskings[VICTIM].release(ALL & ~1)
    assert set(honest) == {VICTIM, 0}
    for told in ({VICTIM: honest[VICTIM]}, {0: honest[0]}, {**honest, 1: bytes(16)}, {}):
        with pytest.raises(IntegrityError, match="are due"):
            fresh.maskings[1].take_seeds(VICTIM, ALL & ~1, told)


# ---- isolation -----------------------------------------------------------------------------------------------------


def test_survivors_below_the_quota_are_told_nothing(table: Table) -> None:
    """defence: the quota in Plan.rows. A victim among few colluders, its sum would be no secret, nor could the masks
    of the silent be rebuilt."""
    assert quota(N) == ENOUGH
    for count in range(1, quota(N)):
        small = Table(N).pass_envelopes()
        coalition = small.coalition(range(count - 1))
        isolated = bits([*range(count - 1), VICTIM])
        small.tell_all(coalition, isolated)
        assert not coalition.seeds
        assert coalition.sees_noise(VICTIM, small.sent[VICTIM], LAYOUT)


def test_never_is_a_sum_of_two_unmasked_however_small_the_group() -> None:
    """defence: FEWEST in quota. In a sum of two each has the other's words."""
    for n in (3, 4):
        small = Table(n).pass_envelopes()
        coalition = small.coalition([0])
        small.tell_all(coalition, bits([0, n - 1]))
        assert not coalition.seeds
        assert not coalition.reads(n - 1)


def test_all_but_one_learn_the_last_ones_words_and_all_but_two_the_sum_of_two(fresh: Table) -> None:
    """No defence: it follows from the sum itself, and docs/privacy.md says so ("Everyone but one")."""
    released = {m: fresh.maskings[m].release(ALL) for m in range(N)}
    total = fresh.total(released)
    others = list(range(N - 1))
    assert (total - fresh.plain(others)).tolist() == fresh.words(VICTIM).tolist()
    assert (total - fresh.plain(others[:-1])).tolist() == fresh.plain([VICTIM - 1, VICTIM]).tolist()


# ---- wrong shares, seeds and boxes -----------------------------------------------------------------------------------


def gather(table: Table, survivors: int, wrong: set[int], silent: set[int]) -> dict[int, bytes] | None:
    """What member 0 makes of everyone's shares of the victim's seeds, when some of them lie."""
    made = None
    for holder in range(1, N):
        if holder in silent:
            continue
        shares = table.maskings[holder].shares(VICTIM, survivors)
        if holder in wrong:
            with pytest.raises(IntegrityError, match=f"the share of member {holder + 1} of a seed of member 7"):
                table.maskings[0].take_shares(holder, VICTIM, survivors, {t: s[::-1] for t, s in shares.items()})
        else:
            made = table.maskings[0].take_shares(holder, VICTIM, survivors, shares)
    return made


def test_a_wrong_share_is_held_against_who_told_it_and_does_not_keep_the_seed_from_being_rebuilt(fresh: Table) -> None:
    """defence: Masking.take_shares' check_share."""
    made = gather(fresh, ALL, wrong={3}, silent={VICTIM})
    assert made == {VICTIM: fresh.maskings[VICTIM].secrets.seeds[VICTIM]}  # type: ignore[union-attr]


def test_below_the_threshold_a_silent_members_seed_is_not_rebuilt(fresh: Table) -> None:
    """defence: the count in Masking._rebuilt. Whoever tried would take the sum of too few shares for the seed."""
    assert gather(fresh, ALL, wrong={2}, silent={1, VICTIM}) is None


def test_who_deals_boxes_that_do_not_open_is_not_held() -> None:
    """defence: ``whole`` in Masking.take_envelope. Its silence after the freeze could not be mended."""
    table = Table(N)
    sealed, last = table.envelopes[VICTIM], table.maskings[N - 2]
    wrong = sealed[:-1] + bytes([sealed[-1] ^ 1])  # in the box of the last holder
    with pytest.raises(IntegrityError, match="does not open"):
        last.take_envelope(VICTIM, wrong, whole=True)
    last.take_envelope(VICTIM, wrong, whole=False)
    assert last.shares(VICTIM, ALL) == {}


# ---- never both ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [4, 5])
def test_no_sequence_of_survivor_sets_gets_a_survivors_self_mask_and_its_pair_masks(n: int) -> None:
    """defence: Masking.targets; released.

    Whatever set everyone is asked with first and whatever second, as survivor or as lost, with all that anyone gives
    out and one colluder fewer than the threshold: of every honest member that was lost, or that survives to the end,
    either the self mask stays secret, or the masks that it shares with the other honest survivors. Who survived first
    and is left out then is another matter: the next test.
    """
    colluders = tuple(range(share_threshold(n - 1) - 1))
    honest = range(len(colluders), n)
    for first, second in itertools.product(range(1 << n), repeat=2):
        asked = Table(n).pass_envelopes()
        coalition = asked.coalition(colluders)
        for survivors in (first, second):
            for member in asked.members:
                give_all(asked, coalition, member, survivors)
        last = first if second & ~first else second
        for member in honest:
            known = coalition.known(member)
            others = {m for m in honest if m != member and last >> m & 1}
            left_out = (first & ~last) >> member & 1
            assert left_out or not (member in known and known & others), (bin(first), bin(second), member)


def test_a_survivor_that_is_left_out_lies_open_to_whoever_heard_its_own_seed(fresh: Table) -> None:
    """No defence, and docs/threat-model.md says so: it takes more than f members that have failed or lie, for else a
    quorum can take off the masks of every honest survivor, and leaves out none."""
    coalition = fresh.coalition()
    fresh.tell_all(coalition, ALL)
    assert coalition.known(VICTIM) == {VICTIM}
    fresh.tell_all(coalition, ALL & ~(1 << VICTIM), silent=[VICTIM])
    assert coalition.read(VICTIM, fresh.sent[VICTIM], LAYOUT).tolist() == fresh.words(VICTIM).tolist()
    assert all(coalition.sees_noise(member, fresh.sent[member], LAYOUT) for member in range(N - 1))


def give_all(table: Table, coalition: Coalition, member: int, survivors: int) -> None:
    """All that a member gives out when it is asked with these survivors, until it refuses."""
    masking = table.maskings[member]
    try:
        coalition.hear_seeds(member, masking.release(survivors))
        for dealer in table.members:
            coalition.hear_shares(member, dealer, masking.shares(dealer, survivors))
    except ProtocolError:
        pass
