import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from folkmoot.privacy.__main__ import member_rows, record_rows
from folkmoot.privacy.budget import Training, affordable, planned, spent, trains_privately
from folkmoot.task.policy import Policy

MEMBERS = Policy(rounds=20, min_members=8, secrecy="sums", clip=2.0, epsilon=3.0)
RECORDS = Policy(rounds=10, epsilon=2.0, privacy_unit="record", record_clip=0.5)
DATA = Training(records=300, batch_size=32, local_epochs=2)


def test_the_planned_rounds_cost_at_most_the_policys_epsilon() -> None:
    for policy, training in ((MEMBERS, None), (RECORDS, DATA)):
        cost = planned(policy, training)
        assert 0.99 * policy.epsilon < cost.epsilon <= policy.epsilon  # type: ignore[operator]
        assert (cost.unit, cost.rounds, cost.delta) == (policy.privacy_unit, policy.rounds, policy.delta)


def test_noise_of_the_fewest_honest_members_adds_up_to_the_multiplier_times_the_clip() -> None:
    cost = planned(MEMBERS)
    assert cost.std * math.sqrt(MEMBERS.honest) == pytest.approx(cost.noise_multiplier * 2.0)


def test_the_noise_of_training_is_the_multiplier_times_the_records_clip() -> None:
    cost = planned(RECORDS, DATA)
    assert cost.std == cost.noise_multiplier * 0.5


def test_a_member_with_more_records_needs_less_noise() -> None:
    multipliers = [planned(RECORDS, Training(records, 32, 2)).noise_multiplier for records in (32, 100, 1000, 10_000)]
    assert multipliers == sorted(multipliers, reverse=True)
    assert multipliers[0] > 2 * multipliers[-1]


def test_a_batch_larger_than_the_data_is_all_of_it() -> None:
    small = Training(records=20, batch_size=32, local_epochs=3)
    assert (small.batch, small.sampling_rate, small.steps) == (20, 1.0, 3)
    assert (DATA.batch, DATA.sampling_rate, DATA.steps) == (32, 32 / 300, 20)
    assert Training(records=20).steps == 1


def test_what_is_spent_grows_with_every_release_and_ends_at_the_plan() -> None:
    for policy, training in ((MEMBERS, None), (RECORDS, DATA)):
        course = [spent(policy, releases, training) for releases in range(policy.rounds + 1)]
        assert course[0] == 0.0
        assert course == sorted(course)
        assert course[-1] == planned(policy, training).epsilon
        assert course[1] < policy.epsilon / 3  # type: ignore[operator]


def test_a_peer_with_a_lower_limit_stops_before_the_plan_does() -> None:
    course = [affordable(MEMBERS, releases, limit=1.5) for releases in range(20)]
    stop = course.index(False)
    assert 1 <= stop < 20
    assert not any(course[stop:])
    assert spent(MEMBERS, stop) <= 1.5 < spent(MEMBERS, stop + 1)


def test_a_sum_opened_once_more_than_was_planned_is_not_affordable() -> None:
    assert affordable(MEMBERS, 19, limit=3.0)
    assert not affordable(MEMBERS, 20, limit=3.0)


def test_without_noise_only_a_peer_without_limit_takes_part() -> None:
    policy = Policy(rounds=5)
    cost = planned(policy)
    assert (cost.epsilon, cost.noise_multiplier, cost.std) == (math.inf, 0.0, 0.0)
    assert spent(policy, 0) == 0.0
    assert not affordable(policy, 0, limit=1e6)
    assert affordable(policy, 0, limit=math.inf)


def test_only_the_unit_record_trains_privately() -> None:
    assert trains_privately(RECORDS)
    assert not trains_privately(MEMBERS)
    assert not trains_privately(Policy(privacy_unit="record"))


def test_the_cost_of_records_needs_their_number() -> None:
    with pytest.raises(ValueError, match="how many records"):
        planned(RECORDS)
    with pytest.raises(ValueError, match="records is 0; it must be 1 or more"):
        Training(records=0)
    with pytest.raises(ValueError, match="batch_size is -1"):
        Training(records=1, batch_size=-1)


@pytest.mark.parametrize("rows", [member_rows, pytest.param(record_rows, marks=pytest.mark.long)])
def test_the_tables_in_the_documentation_are_what_its_command_prints(rows: Callable[[], Iterator[str]]) -> None:
    assert "\n".join(rows()) in (Path(__file__).parents[2] / "docs" / "privacy.md").read_text()


def test_local_steps_cost_what_as_many_batches_cost() -> None:
    passes, steps = Training(320, 32, 3), Training(320, 32, local_steps=30)
    assert (passes.steps, steps.steps) == (30, 30)
    policy = Policy(epsilon=4.0, privacy_unit="record", rounds=3)
    assert planned(policy, steps) == planned(policy, passes)
