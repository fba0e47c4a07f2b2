"""``python -m folkmoot.privacy``: the tables of docs/privacy.md, what noise an epsilon asks for."""

from __future__ import annotations

import math
from collections.abc import Iterator

from folkmoot.privacy.budget import Training, noise_multiplier, planned
from folkmoot.task.policy import Policy

__all__ = ["member_rows", "record_rows"]

EPSILONS = (1.0, 3.0, 8.0)


def member_rows() -> Iterator[str]:
    """Noise for members, a row for each epsilon and number of rounds; all members of the moot contribute.

    The last columns hold, for so many members, the standard deviation of the noise in each value of their mean, as
    a share of the clip.
    """
    members = (10, 50, 250)
    yield "| epsilon | rounds | noise multiplier | " + " | ".join(f"in the mean of {n}" for n in members) + " |"
    yield "| --- " * (3 + len(members)) + "|"
    for epsilon in EPSILONS:
        for rounds in (10, 50):
            cells = [f"{epsilon:g}", f"{rounds}"]
            for count in members:
                policy = Policy(rounds=rounds, min_members=count, secrecy="sums", clip=1.0, epsilon=epsilon)
                cost = planned(policy)
                if count == members[0]:
                    cells.append(f"{cost.noise_multiplier:.2f}")
                cells.append(f"{cost.std / math.sqrt(count):.3f}")
            yield f"| {' | '.join(cells)} |"


def record_rows() -> Iterator[str]:
    """Noise for records, a row for each epsilon and size of a member's data: 20 rounds, one epoch each, batches of 32.

    The last column holds the standard deviation of the noise in each value of a batch's mean gradient, as a share of
    the record's clip.
    """
    yield "| epsilon | records of the member | noise multiplier | in a batch's mean gradient |"
    yield "| --- " * 4 + "|"
    for epsilon in EPSILONS:
        for records in (200, 2000, 20_000):
            training = Training(records, batch_size=32)
            multiplier = noise_multiplier(Policy(rounds=20, epsilon=epsilon, privacy_unit="record"), training)
            yield f"| {epsilon:g} | {records:,} | {multiplier:.2f} | {multiplier / training.batch:.3f} |"


if __name__ == "__main__":
    print("Noise that hides a member (delta 1e-5)\n")
    print(*member_rows(), sep="\n")
    print("\nNoise that hides a record (delta 1e-5, 20 rounds of one epoch, batches of 32)\n")
    print(*record_rows(), sep="\n")
