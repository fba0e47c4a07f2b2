"""Secrets: neighbours agree on them, nobody else can, and no two contexts have any in common."""

from __future__ import annotations

import pytest
from mask_group import BEACON, FIELDS, Group, context_of, exchange_public, exchange_secret, secrets_of

from folkmoot.errors import IntegrityError
from folkmoot.round.groups import sign
from folkmoot.round.seeds import MAX_INDEX, Secrets, agree, mask_context

MEMBERS = (0, 3, 4, 9)
CHANGES: dict[str, object] = {
    "chain_id": 1,
    "contract": bytes(20),
    "task": 2,
    "round": 2,
    "attempt": 1,
    "parent": bytes(32),
    "beacon": BEACON,
    "group": 0b11001,
}
LOW_ORDER = (bytes(32), (1).to_bytes(32, "little"), ((1 << 255) - 20).to_bytes(32, "little"))


def everything(secrets: Secrets) -> list[bytes]:
    """Every key and seed of one member in one context."""
    pairs = [(secrets.me, j) for j in secrets.neighbours]
    boxes = [secrets.box_key(*pair[::order]) for pair in pairs for order in (1, -1)]
    return [*secrets.seeds.values(), *boxes, secrets.coefficients(1)]


def test_two_neighbours_have_seed_and_box_keys_in_common() -> None:
    group = Group(MEMBERS)
    for me, mine in group.secrets.items():
        for other in mine.neighbours:
            theirs = group.secrets[other]
            assert mine.seeds[other] == theirs.seeds[me]
            assert mine.box_key(me, other) == theirs.box_key(me, other)
            assert sign(me, other) == -sign(other, me)
    assert [secrets.masks[0] for secrets in group.secrets.values()] == [
        (1, secrets.seeds[me]) for me, secrets in group.secrets.items()
    ]


def test_no_two_secrets_of_a_group_are_alike() -> None:
    """defence: _derive's purpose and members. A box key that served both directions would meet two plaintexts."""
    group = Group(MEMBERS)
    for secrets in group.secrets.values():
        assert len({secret[:16] for secret in everything(secrets)}) == len(everything(secrets))
    assert len({secrets.seeds[me] for me, secrets in group.secrets.items()}) == len(MEMBERS)


def test_a_member_that_publishes_anothers_key_shares_no_secret_with_it() -> None:
    """defence: _derive's members. X25519 agrees on the same with both."""
    secrets = Secrets(context_of(MEMBERS), 0, MEMBERS[1:], bytes(32), lambda j: b"the same for everyone".ljust(32))
    assert len({*secrets.seeds.values(), *(secrets.box_key(0, j)[:16] for j in MEMBERS[1:])}) == 7


@pytest.mark.parametrize("field", CHANGES)
def test_contexts_that_differ_in_one_field_have_no_secret_in_common(field: str) -> None:
    """defence: mask_context's fields, and _derive's context. A mask used twice would show what changed."""
    here = secrets_of(0, MEMBERS[1:], context_of(MEMBERS))
    there = secrets_of(0, MEMBERS[1:], context_of(MEMBERS, **{field: CHANGES[field]}))
    assert not set(everything(here)) & set(everything(there))


def test_numbers_of_a_context_cannot_run_into_each_other() -> None:
    assert context_of(MEMBERS, task=1, round=256) != context_of(MEMBERS, task=256, round=1)
    assert context_of(MEMBERS, round=0, attempt=1) != context_of(MEMBERS, round=1, attempt=0)


def test_a_member_that_starts_again_has_the_same_secrets() -> None:
    context = context_of(MEMBERS)
    assert everything(secrets_of(3, (0, 4, 9), context)) == everything(secrets_of(3, (0, 4, 9), context))
    assert secrets_of(3, (0, 4, 9), context).coefficients(5)[:16] == secrets_of(3, (0, 4), context).coefficients(1)


def test_who_publishes_a_key_that_agrees_on_nothing_gives_away_its_own_secrets_and_holds_up_nobody() -> None:
    """defence: agree. A key of low order agrees on zero with everyone."""
    for public in (bytes(32), b"\1" + bytes(31)):
        assert agree(exchange_secret(0), public) == bytes(32)
    with pytest.raises(IntegrityError, match="has not 32 bytes"):
        agree(exchange_secret(0), bytes(31))


def test_agreement_is_mutual() -> None:
    assert agree(exchange_secret(1), exchange_public(2)) == agree(exchange_secret(2), exchange_public(1))


def test_what_is_printed_of_secrets_shows_none() -> None:
    secrets = secrets_of(0, (1, 2), context_of((0, 1, 2)))
    shown = repr(secrets)
    assert "secret=" not in shown
    assert "shared=" not in shown


@pytest.mark.parametrize(
    "changed",
    [{"contract": bytes(19)}, {"parent": bytes(31)}, {"beacon": bytes(33)}, {"group": 1 << MAX_INDEX + 1}],
    ids=lambda changed: next(iter(changed)),
)
def test_a_context_of_other_lengths_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="a mask"):
        mask_context(**{**FIELDS, "group": 7, **changed})  # type: ignore[arg-type]


def test_secrets_that_make_no_sense_are_refused() -> None:
    for context, me, near, own in (
        (bytes(31), 0, (1,), bytes(32)),
        (bytes(32), 0, (1,), bytes(16)),
        (bytes(32), 0, (0, 1), bytes(32)),
        (bytes(32), 0, (MAX_INDEX + 1,), bytes(32)),
    ):
        with pytest.raises(ValueError, match=r"secrets take|cannot have"):
            Secrets(context, me, near, own, lambda j: bytes(32))
