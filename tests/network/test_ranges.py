from hypothesis import given
from hypothesis import strategies as st

from folkmoot.network.ranges import Range, Ranges, spans


@given(st.sets(st.integers(0, 60)), st.integers(1, 8))
def test_spans_cover_each_index_once_in_order_and_are_short_enough(indices: set[int], longest: int) -> None:
    found = spans(sorted(indices), longest)
    covered = [index for each in found for index in range(each.first, each.first + each.count)]
    assert covered == sorted(indices)
    assert all(1 <= each.count <= longest for each in found)


def test_a_late_range_is_given_to_one_other_holder_the_oldest_first() -> None:
    one, two = Range(0, 4), Range(4, 4)
    ranges = Ranges([one, two], patience=1.0)
    assert ranges.take(b"a", 0.0) == one
    assert ranges.take(b"a", 0.5) == two
    assert ranges.take(b"b", 0.9) is None
    assert ranges.wait(0.9) == 1.0 - 0.9
    assert ranges.take(b"a", 5.0) is None
    assert ranges.take(b"b", 1.6) == one
    assert ranges.take(b"c", 1.6) == two
    assert ranges.take(b"d", 9.0) is None
    assert ranges.wait(9.0) is None
    ranges.done(one)
    ranges.give_back(one, b"b")
    ranges.give_back(two, b"a")
    ranges.give_back(two, b"c")
    assert not ranges.finished
    assert ranges.take(b"d", 9.0) == two
    ranges.done(two)
    assert ranges.finished


HOLDERS = [b"a", b"b", b"c", b"d"]


@given(st.integers(0, 12), st.lists(st.tuples(st.sampled_from(HOLDERS), st.booleans(), st.floats(0, 2)), max_size=80))
def test_no_range_is_ever_lost_whoever_brings_or_drops_it(count: int, steps: list[tuple[bytes, bool, float]]) -> None:
    todo = [Range(index, 1) for index in range(count)]
    ranges = Ranges(todo, patience=1.0)
    came: set[Range] = set()
    now = 0.0
    holding: list[tuple[bytes, Range]] = []
    for holder, brings, later in steps:
        now += later
        taken = ranges.take(holder, now)
        if taken is not None:
            assert taken not in came
            holding.append((holder, taken))
        elif holding:
            who, what = holding.pop(0)
            if brings:
                ranges.done(what)
                came.add(what)
            else:
                ranges.give_back(what, who)
    for who, what in holding:
        ranges.give_back(what, who)
    while (taken := ranges.take(b"last", now)) is not None:
        assert taken not in came
        ranges.done(taken)
        came.add(taken)
    assert came == set(todo)
    assert ranges.finished
