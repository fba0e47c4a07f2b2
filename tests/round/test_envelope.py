"""Envelopes: neighbours get shares they can trust, anyone can check what is shown, and lies are told from truth."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_group import BEACON, Group, context_of, secrets_of

from folkmoot.errors import IntegrityError
from folkmoot.round import envelope as module
from folkmoot.round.envelope import Envelope, envelope_bytes, seal
from folkmoot.round.seeds import Secrets
from folkmoot.task.policy import share_threshold

MEMBERS = (0, 2, 3, 5, 8, 11)
DEALER, HOLDER = 3, 8
GROUP = Group(MEMBERS)
AGAIN = Group(MEMBERS, attempt=1)
HOLDERS = tuple(m for m in MEMBERS if m != DEALER)
T = share_threshold(len(HOLDERS))


def shares_of(group: Group, target: int) -> dict[int, bytes]:
    return {h: group.share(h, DEALER, target) for h in HOLDERS}


def tampered(data: bytes, at: int) -> Envelope:
    """The dealer's envelope with one bit changed."""
    changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    return Envelope.parse(changed, GROUP.context, DEALER, HOLDERS)


@pytest.mark.parametrize("members", [(1, 4, 200), MEMBERS, range(34)])
def test_any_threshold_of_holders_rebuilds_any_seed(members: tuple[int, ...]) -> None:
    group = Group(members, beacon=BEACON)
    dealer = members[1]
    envelope, near = group.envelopes[dealer], group.near[dealer]
    threshold = share_threshold(len(near))
    boxes = {h: envelope.open_box(group.secrets[h]) for h in near}
    for target, seed in group.secrets[dealer].seeds.items():
        for some in (near[:threshold], near[-threshold:], near):
            assert envelope.recover(target, {h: boxes[h][target] for h in some}) == seed
        assert envelope.check_seed(target, seed)


@pytest.mark.parametrize("k", [1, 2, 5, 16])
def test_the_size_follows_from_the_number_of_neighbours(k: int) -> None:
    context = context_of(range(k + 1))
    assert len(seal(secrets_of(0, range(1, k + 1), context))) == envelope_bytes(k)


def test_at_a_hundred_members_an_envelope_has_59_kilobytes() -> None:
    assert envelope_bytes(48) == 58_784


def test_an_envelope_made_again_is_the_same() -> None:
    """What is encrypted under the key of a box, which has no nonce, is the same whenever it is."""
    assert seal(GROUP.secrets[DEALER]) == seal(Group(MEMBERS).secrets[DEALER])


@pytest.mark.parametrize("change", [-1, 1])
def test_an_envelope_of_another_size_is_refused(change: int) -> None:
    """defence: Envelope.parse."""
    data = GROUP.envelopes[DEALER].data
    with pytest.raises(IntegrityError, match="envelope of member 4 has"):
        Envelope.parse((data + b"0")[: len(data) + change], GROUP.context, DEALER, HOLDERS)


def test_a_wrong_share_is_recognised() -> None:
    """defence: Envelope.check_share."""
    envelope, share = GROUP.envelopes[DEALER], GROUP.share(HOLDER, DEALER, DEALER)
    assert envelope.check_share(HOLDER, DEALER, share)
    for wrong in (bytes(16), bytes([share[0] ^ 1]) + share[1:], share[:-1], share + b"0", b""):
        assert not envelope.check_share(HOLDER, DEALER, wrong)


@pytest.mark.parametrize("wrong", [b"", bytes(15), bytes(17)], ids=len)
def test_a_seed_or_share_of_another_length_fits_nothing_even_where_the_dealer_vouches_for_it(wrong: bytes) -> None:
    """defence: the lengths in check_seed and check_share. What comes after them takes 16 bytes, and would raise."""
    data = bytearray(GROUP.envelopes[DEALER].data)
    data[:32] = module._seed_hash(GROUP.context, DEALER, DEALER, wrong)
    row = len(MEMBERS) * (32 + 8 * HOLDERS.index(HOLDER))
    data[row : row + 8] = module._tags(GROUP.context, DEALER, HOLDER, {DEALER: wrong})[0]
    envelope = Envelope.parse(bytes(data), GROUP.context, DEALER, HOLDERS)
    assert not envelope.check_seed(DEALER, wrong)
    assert not envelope.check_share(HOLDER, DEALER, wrong)


def test_a_share_of_another_holder_target_or_dealer_is_recognised() -> None:
    """defence: _tags binds dealer, holder and target."""
    envelope = GROUP.envelopes[DEALER]
    assert not envelope.check_share(HOLDER, DEALER, GROUP.share(0, DEALER, DEALER))
    assert not envelope.check_share(HOLDER, DEALER, GROUP.share(HOLDER, DEALER, 0))
    assert not envelope.check_share(HOLDER, 0, GROUP.share(HOLDER, DEALER, DEALER))
    assert not envelope.check_share(HOLDER, 0, GROUP.share(HOLDER, 0, DEALER))


def test_tags_are_bound_to_their_members_even_where_shares_are_the_same() -> None:
    """defence: _tags binds context, dealer, holder and target."""
    share = bytes(16)
    places = [(c, d, h, t) for c in (bytes(32), b"c" * 32) for d in (0, 1) for h in (2, 3) for t in (0, 1)]
    made = [module._tags(context, dealer, holder, {target: share})[0] for context, dealer, holder, target in places]
    assert len(set(made)) == len(places)


def test_hashes_are_bound_to_their_members_even_where_seeds_are_the_same() -> None:
    """defence: _seed_hash binds context, dealer and target. Equal hashes would tell whose seeds are alike."""
    places = [(c, d, t) for c in (bytes(32), b"c" * 32) for d in (0, 1) for t in (2, 3)]
    assert len({module._seed_hash(*place, bytes(16)) for place in places}) == len(places)


def test_a_share_of_another_attempt_is_recognised() -> None:
    """defence: _tags binds the context."""
    replayed = AGAIN.share(HOLDER, DEALER, DEALER)
    assert AGAIN.envelopes[DEALER].check_share(HOLDER, DEALER, replayed)
    assert not GROUP.envelopes[DEALER].check_share(HOLDER, DEALER, replayed)


def test_an_envelope_of_another_attempt_opens_nothing() -> None:
    """defence: box_key's context."""
    replayed = Envelope.parse(AGAIN.envelopes[DEALER].data, GROUP.context, DEALER, HOLDERS)
    with pytest.raises(IntegrityError, match="does not open"):
        replayed.open_box(GROUP.secrets[HOLDER])
    assert not replayed.check_seed(DEALER, AGAIN.secrets[DEALER].seeds[DEALER])


def test_another_members_envelope_opens_nothing() -> None:
    """defence: box_key's dealer and holder. Nobody can pass off a neighbour's envelope as its own."""
    copied = Envelope.parse(GROUP.envelopes[2].data, GROUP.context, DEALER, HOLDERS)
    with pytest.raises(IntegrityError, match="does not open"):
        copied.open_box(GROUP.secrets[HOLDER])


def test_shares_for_nobody_and_of_nothing_do_not_fit() -> None:
    envelope = GROUP.envelopes[DEALER]
    share = GROUP.share(HOLDER, DEALER, DEALER)
    assert not envelope.check_share(DEALER, DEALER, share)
    assert not envelope.check_share(HOLDER, 77, share)
    assert not envelope.check_share(77, DEALER, share)
    assert not envelope.check_seed(77, share)


def test_a_wrong_seed_is_recognised() -> None:
    """defence: Envelope.check_seed."""
    envelope, seeds = GROUP.envelopes[DEALER], GROUP.secrets[DEALER].seeds
    assert envelope.check_seed(DEALER, seeds[DEALER])
    later = AGAIN.secrets[DEALER].seeds[DEALER]
    for wrong in (bytes(16), seeds[HOLDER], later, seeds[DEALER][:-1], seeds[DEALER] + b"0", b""):
        assert not envelope.check_seed(DEALER, wrong)


@pytest.mark.parametrize("liars", range(1, len(HOLDERS) - T + 1))
def test_lying_holders_do_not_keep_a_seed_from_being_rebuilt(liars: int) -> None:
    """defence: recover's filter by check_share."""
    shares = {h: bytes(16) if h in HOLDERS[:liars] else share for h, share in shares_of(GROUP, 0).items()}
    assert GROUP.envelopes[DEALER].recover(0, shares) == GROUP.secrets[DEALER].seeds[0]


def test_too_few_shares_rebuild_nothing() -> None:
    """defence: recover's count. A lying holder's share counts as none."""
    shares = shares_of(GROUP, DEALER)
    few = dict(list(shares.items())[: T - 1])
    for given_in in (few, {**few, HOLDERS[-1]: bytes(16)}, {**few, 77: shares[HOLDERS[-1]]}, {}):
        with pytest.raises(IntegrityError, match=f"it takes {T}"):
            GROUP.envelopes[DEALER].recover(DEALER, given_in)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, envelope_bytes(len(HOLDERS)) - 1))
def test_a_changed_bit_anywhere_is_noticed_by_whom_it_would_harm(at: int) -> None:
    """defence: open_box (AEAD tag, comparison with the tags), check_seed."""
    envelope = tampered(GROUP.envelopes[DEALER].data, at)
    noticed = 0
    for holder in HOLDERS:
        try:
            envelope.open_box(GROUP.secrets[holder])
        except IntegrityError:
            noticed += 1
    noticed += sum(not envelope.check_seed(t, seed) for t, seed in GROUP.secrets[DEALER].seeds.items())
    assert noticed


def test_a_tampered_box_does_not_open() -> None:
    """defence: open_box's InvalidTag."""
    data = GROUP.envelopes[DEALER].data
    with pytest.raises(IntegrityError, match="does not open"):
        tampered(data, len(data) - 1).open_box(GROUP.secrets[HOLDERS[-1]])


def test_a_box_whose_share_does_not_fit_its_tag_is_refused() -> None:
    """defence: open_box's comparison with the tags. Its holder could never prove that it tells the truth."""
    first_tag = len(MEMBERS) * 32
    with pytest.raises(IntegrityError, match="does not fit its tag"):
        tampered(GROUP.envelopes[DEALER].data, first_tag).open_box(GROUP.secrets[HOLDERS[0]])


def test_a_dealer_that_hashed_another_pair_seed_is_refused() -> None:
    """defence: open_box's check_seed. Only the neighbour knows what that seed has to be."""
    at = (1 + HOLDERS.index(HOLDER)) * 32
    with pytest.raises(IntegrityError, match="masked with another seed"):
        tampered(GROUP.envelopes[DEALER].data, at).open_box(GROUP.secrets[HOLDER])


def test_a_dealer_whose_shares_make_another_seed_is_found_out_when_it_is_rebuilt() -> None:
    """defence: recover's check_seed."""
    envelope = tampered(GROUP.envelopes[DEALER].data, 0)
    with pytest.raises(IntegrityError, match="member 4 dealt for member 4 make another seed"):
        envelope.recover(DEALER, shares_of(GROUP, DEALER))


def test_a_dealer_that_shares_something_else_with_each_holder_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """defence: recover's check_seed. Such shares fit their tags, for the liar made both."""
    honest = module.shamir.split
    with monkeypatch.context() as patch:
        patch.setattr(module.shamir, "split", lambda *given_in: [row[::-1] for row in honest(*given_in)])
        envelope = Envelope.parse(seal(GROUP.secrets[DEALER]), GROUP.context, DEALER, HOLDERS)
    shares = {h: envelope.open_box(GROUP.secrets[h])[DEALER] for h in HOLDERS}
    with pytest.raises(IntegrityError, match="make another seed"):
        envelope.recover(DEALER, shares)


def test_a_box_opens_for_its_holder_only() -> None:
    """defence: box_key. An envelope lies open for all; each of its boxes is for one."""
    envelope = GROUP.envelopes[DEALER]
    k = len(HOLDERS)
    box = envelope.data[-((k + 1) * 16 + 16) :]
    keys = [s.box_key(s.me, j) for s in GROUP.secrets.values() for j in s.neighbours]
    opened = sum(_opens(key, box) for key in keys)
    assert opened == 1


def _opens(key: bytes, box: bytes) -> bool:
    try:
        ChaCha20Poly1305(key).decrypt(bytes(12), box, None)
    except Exception:
        return False
    return True


def test_to_open_a_box_with_the_secrets_of_no_neighbour_is_a_mistake() -> None:
    envelope = GROUP.envelopes[DEALER]
    stranger: Secrets = replace(GROUP.secrets[HOLDER], me=77)
    for secrets in (stranger, AGAIN.secrets[HOLDER], GROUP.secrets[DEALER]):
        with pytest.raises(ValueError, match="has no box in this envelope"):
            envelope.open_box(secrets)


def test_what_is_sent_does_not_contain_a_seed_or_share() -> None:
    data = GROUP.envelopes[DEALER].data
    for target, seed in GROUP.secrets[DEALER].seeds.items():
        assert seed not in data
        assert all(share not in data for share in shares_of(GROUP, target).values())
