"""What a policy promises, in words, before anyone agrees to it; and what a peer's data have told so far."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated

import typer

from folkmoot.cli.show import DEFAULT_HOME, HomeOption, JsonOption, show_json, show_table

if TYPE_CHECKING:
    from folkmoot.task.policy import Policy

__all__ = ["privacy", "promises"]


def privacy(
    task: Annotated[int | None, typer.Argument(help="Id of a task; all without it.", min=1)] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Show what your contributions have spent of your data's privacy, and what is left under each grant.

    Your running peer computes it, and sits out any round that would exceed the limit of a grant (grant --epsilon).
    """
    from folkmoot.errors import LocalError
    from folkmoot.peer.home import Home
    from folkmoot.peer.status import read_status

    status = read_status(Home.open(home))
    if status is None:
        raise LocalError("this peer has never run, so nothing is spent; start it: folkmoot run")
    told = [t for t in status.tasks if task in (None, t.task)]
    if json:
        show_json([{"task": t.task, "name": t.name, "privacy": t.privacy} for t in told])
        return
    show_table(
        ("task", "dataset", "protects each", "epsilon planned", "spent", "contributions", "limit", "left", "delta"),
        (
            (f"{t.task} {t.name}", p.dataset, p.unit, _epsilon(p.planned), _epsilon(p.spent), p.releases)
            + (("none", "") if p.limit is None else (f"{p.limit:.4g}", _left(p.allowed, p.releases)))
            + (f"{p.delta:g}",)
            for t in told
            if (p := t.privacy) is not None
        ),
    )
    for t in told:
        if t.privacy is None:
            print(f"task {t.task} {t.name}: no noise is added, and no grant of yours sets a limit: see docs/privacy.md")


def _epsilon(value: float | None) -> str:
    return "no bound" if value is None else f"{value:.3g}"


def _left(allowed: int | None, releases: int) -> str:
    return "" if allowed is None else f"{max(0, allowed - releases)} contributions"


def promises(policy: Policy, members: int, buffers: Collection[str] = ()) -> list[str]:
    """What the policy promises in a moot of so many members, a sentence each; ``buffers`` are those of the model."""
    told = [_secrecy(policy, members), _robustness(policy), _noise(policy)]
    return [*told, _buffers(policy, buffers)] if buffers else told


def _buffers(policy: Policy, names: Collection[str]) -> str:
    first = sorted(names)
    listed = ", ".join(first[:3]) + (f" and {len(first) - 3} more" if len(first) > 3 else "")
    how = "mean" if policy.robust == "mean" else "median by element"
    return (
        f"Buffers ({listed}) take the members' {how}, {'outside the cap' if policy.clip else 'apart from the weights'}."
    )


def _secrecy(policy: Policy, members: int) -> str:
    from folkmoot.task.policy import quota

    if not policy.secret:
        return "Members see each other's contributions."
    if not policy.grouped:
        told = f"Members see the sum of all contributions only, of at least {max(policy.min_members, quota(3))}."
        return f"{told} All but one of them together would have the last one's."
    size, faults = policy.group_size, policy.faults
    few = _few_honest(members, faults, size)
    told = f"Members see the sums of groups of {size} or more, dealt anew each round."
    if few == 0.0:
        return f"{told} Each has at least 3 honest members if at most {faults} lie."
    return f"{told} If {faults} collude, some group has fewer than 3 honest members in {few:.1%} of rounds."


def _few_honest(members: int, liars: int, size: int) -> float:
    """At most how likely it is that among all groups of ``size`` one is dealt so many liars that fewer than 3 honest
    members are left: the exact tail of the hypergeometric distribution, times the number of groups."""
    bad = sum(math.comb(liars, c) * math.comb(members - liars, size - c) for c in range(size - 2, min(liars, size) + 1))
    return min(1.0, members // size * bad / math.comb(members, size))


def _robustness(policy: Policy) -> str:
    if policy.robust == "mean":
        return "One lying member can move the model wherever it wants: the mean withstands none."
    return f"{policy.robust} withstands {policy.faults} lying members; each member counts alike."


def _noise(policy: Policy) -> str:
    from folkmoot.privacy.budget import planned

    if policy.epsilon is None:
        return "No noise is added: what a model tells of its data is not bounded (differential privacy: none)."
    if policy.privacy_unit == "record":
        return (
            f"Each record of each member is protected: its {policy.rounds} rounds cost an epsilon of at most"
            f" {policy.epsilon:g} (delta {policy.delta:g}), with the noise that a member's number of records asks for."
        )
    cost = planned(policy)
    return (
        f"Each member is protected: {policy.rounds} rounds cost an epsilon of {cost.epsilon:.3g}, delta"
        f" {policy.delta:g}."
        f" Every sum has noise of {cost.noise_multiplier:g} times the clip, {cost.std:.3g} from each member."
    )
