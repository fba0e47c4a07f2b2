"""Service, counted from final records."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from folkmoot.reward import Service, availability

BITMAPS = st.integers(0, (1 << 20) - 1)


def test_a_helper_without_data_is_counted_for_its_signatures_alone() -> None:
    found = availability([(0b0011, 0b0111, 0b0111), (0b0001, 0b0110, 0b0111)])
    assert found == {0: Service(2, 2, 1), 1: Service(2, 1, 2), 2: Service(2, 0, 2)}
    assert [service.points for service in found.values()] == [3, 3, 2]


def test_who_joined_late_is_counted_from_then_on() -> None:
    assert availability([(0b01, 0b01, 0b01), (0b11, 0b11, 0b11)])[1] == Service(1, 1, 1)


@given(st.lists(st.tuples(BITMAPS, BITMAPS, BITMAPS), max_size=20))
def test_nobody_is_counted_for_rounds_it_was_not_a_member_in(finals: list[tuple[int, int, int]]) -> None:
    found = availability(finals)
    assert list(found) == sorted(found)
    for member, service in found.items():
        assert service.rounds == sum(members >> member & 1 for *_, members in finals)
        assert max(service.survived, service.signed) <= service.rounds
    assert sum(service.survived for service in found.values()) == sum((s & m).bit_count() for s, _, m in finals)
    assert sum(service.signed for service in found.values()) == sum((s & m).bit_count() for _, s, m in finals)
