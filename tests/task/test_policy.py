"""What a policy refuses, and says why: what no moot could deliver."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folkmoot.task.policy import FEWEST, MIXES, RULES, Policy, quota, share_threshold

SECRET_RULE: dict[str, Any] = {"secrecy": "sums", "robust": "median", "faults": 1, "clip": 1.0}


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"secrecy": "hidden"}, "policy.secrecy is 'hidden'; use 'public' or 'sums'"),
        ({"robust": "average"}, "policy.robust is 'average'"),
        ({"mix": "all", "robust": "median", "faults": 1}, "policy.mix is 'all'"),
        ({"faults": 1}, "which withstands no liar"),
        ({"robust": "median"}, "say with faults="),
        ({"robust": "median", "faults": 2, "min_members": 4}, "2 liars among 5 or more"),
        ({"robust": "krum", "faults": 1, "min_members": 4}, "1 liars among 5 or more"),
        ({"robust": "krum", "mix": "buckets", "faults": 2, "min_members": 9}, "2 liars among 13 or more"),
        ({"secrecy": "sums", "min_members": 2}, "a sum of fewer than 3 is no secret"),
        (
            SECRET_RULE | {"min_members": 11},
            "makes 2 groups of 4; median withstands 1 liars among 3 groups or more, so 12",
        ),
        (SECRET_RULE | {"min_members": 12, "clip": None}, "policy.clip is not set"),
        (SECRET_RULE | {"min_members": 12, "group_size": 3}, "fewer than 3 honest members are left"),
        ({"epsilon": 1.0, "clip": 1.0}, "needs secrecy='sums'"),
        ({"epsilon": 1.0, "secrecy": "sums"}, "needs clip="),
        ({"epsilon": -1.0, "secrecy": "sums", "clip": 1.0}, "policy.epsilon is -1.0"),
        ({"clip": float("inf")}, "policy.clip is inf"),
        ({"epsilon": 1.0, "delta": 1.0, "privacy_unit": "record"}, "policy.delta is 1.0"),
        ({"epsilon": 1.0, "privacy_unit": "household"}, "policy.privacy_unit is 'household'"),
    ],
)
def test_what_cannot_work_is_refused_with_the_arithmetic(numbers: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match="policy") as refused:
        Policy(**numbers)
    assert words in str(refused.value)


@given(st.sampled_from([rule for rule in RULES if rule != "mean"]), st.sampled_from(sorted(MIXES)), st.integers(1, 20))
def test_the_smallest_moot_that_a_refusal_names_is_accepted_and_one_less_is_not(
    rule: str, mix: str, faults: int
) -> None:
    terms: dict[str, Any] = {"robust": rule, "mix": mix, "faults": faults}
    needed = Policy(**terms, min_members=256).inputs_needed
    assert Policy(**terms, min_members=needed).inputs_needed == needed
    with pytest.raises(ValueError, match=f"among {needed} or more"):
        Policy(**terms, min_members=needed - 1)
    # Buckets of two leave half of the inputs, of which the rule still needs its number.
    left = -(-needed // 2) if mix == "buckets" else needed
    assert left >= RULES[rule](faults)


@given(st.integers(3, 256))
def test_a_mask_groups_quota_can_rebuild_what_the_silent_leave_and_hides_each_of_them(size: int) -> None:
    assert FEWEST <= quota(size) <= size
    # While no more than a third are lost, the rest can rebuild the seeds of one that falls silent after all.
    assert quota(size) <= size - (size - 1) // 3
    assert share_threshold(size - 1) <= quota(size)
    # A third of the members, colluding, never hold enough shares of an honest one.
    assert (size - 1) // 3 < share_threshold(size - 1)


def test_who_counts_and_how() -> None:
    assert Policy().weighted
    assert Policy(secrecy="sums").weighted
    assert not Policy(robust="median", faults=1).weighted
    assert not Policy(clip=1.0).weighted
    assert not Policy(secrecy="sums", clip=1.0, epsilon=1.0).weighted
    assert Policy(epsilon=1.0, privacy_unit="record").weighted
    assert Policy(secrecy="sums", clip=1.0, epsilon=1.0, min_members=10).honest == 7
    assert Policy(**SECRET_RULE, min_members=12, epsilon=1.0).honest == 2
