from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folkmoot.errors import LocalError
from folkmoot.peer.ticket import PREFIX, Ticket, format_ticket, parse_ticket

TICKET = Ticket("/srv/moot/ledger.sqlite", bytes(range(20)), bytes(range(32)), 31337)
tickets = st.builds(
    Ticket,
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=200),
    st.binary(min_size=20, max_size=20),
    st.binary(min_size=32, max_size=32),
)


def test_a_ticket_from_before_it_named_its_chain_is_still_read() -> None:
    assert parse_ticket(BEFORE_CHAIN_IDS) == Ticket(TICKET.ledger, TICKET.contract, TICKET.voucher)


def test_the_format_does_not_move() -> None:
    assert format_ticket(TICKET) == GOLDEN


@given(tickets)
def test_a_ticket_survives_being_written_and_read(ticket: Ticket) -> None:
    assert parse_ticket(format_ticket(ticket)) == ticket


@given(tickets, st.data())
def test_a_ticket_survives_what_mail_and_hands_do_to_it(ticket: Ticket, data: st.DataObject) -> None:
    text = format_ticket(ticket)
    at = data.draw(st.integers(0, len(text)))
    misread = text[len(PREFIX) :].upper().replace("O", "0").replace("L", "1").replace("B", "8")
    assert parse_ticket(f"  {text[:at]}\n {text[at:]} ") == ticket
    assert parse_ticket(PREFIX.upper() + misread) == ticket


@given(tickets, st.data())
def test_a_wrong_letter_is_noticed(ticket: Ticket, data: st.DataObject) -> None:
    text = format_ticket(ticket)
    at = data.draw(st.integers(len(PREFIX), len(text) - 1))
    letter = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
    wrong = text[:at] + letter + text[at + 1 :]
    with suppress(LocalError):
        assert parse_ticket(wrong) == ticket  # the same letter, or only padding bits of the last


@given(tickets, st.data())
def test_a_cut_ticket_is_refused(ticket: Ticket, data: st.DataObject) -> None:
    text = format_ticket(ticket)
    cut = text[: data.draw(st.integers(0, len(text) - 2))]
    with pytest.raises(LocalError):
        parse_ticket(cut)


@given(st.text(max_size=300))
def test_any_other_text_is_refused_in_words(text: str) -> None:
    for candidate in (text, PREFIX + text):
        with pytest.raises(LocalError):
            parse_ticket(candidate)


def test_the_voucher_is_not_in_the_repr() -> None:
    assert TICKET.voucher.hex() not in repr(TICKET)
    assert repr(TICKET.voucher) not in repr(TICKET)


GOLDEN = (
    "moot1ss3s643soyxw233poqxwyzlem5sxelttofwgs5dfyqkaaaicamcakbqhbaequcymbuha6earcij"
    "4iiaaaebagbafaydqqcikbmga2dqpcaireeyuculbogazdinryhi6d7gxu2mulnenw"
)
BEFORE_CHAIN_IDS = (
    "moot1so3s643soyxw233poqxwyzlem5sxelttofwgs5dfyqkaaaicamcakbqhbaequcymbuha6earcij"
    "4iiaaaebagbafaydqqcikbmga2dqpcaireeyuculbogazdinryhi6d7fq4oc2"
)
