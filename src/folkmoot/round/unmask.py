"""The part of a masked attempt between the freeze and the sums: whose seeds are told, asked for, and done without.

Plain functions over what one member knows of an attempt; the machine calls them in its final phase, when the ledger has
fixed who survived.
"""

from __future__ import annotations

from folkmoot.round.attempt import Attempt, Rows, Timing
from folkmoot.round.events import Action, AskSeeds, OpeningReceived, PostOpening, Release, Row, SendOpening
from folkmoot.round.groups import sign
from folkmoot.round.view import RoundView, faults, members_of, quorum

__all__ = ["row_of", "take_opening", "unmask"]


def unmask(
    attempt: Attempt, view: RoundView, rows: Rows, actions: list[Action], *, now: float, timing: Timing
) -> list[int]:
    """Tell those of this peer's mask seeds that may be known, and ask for those that are missing when they have had
    their time; the survivors whose seeds are not here."""
    plan, me = attempt.plan, attempt.me
    summed = [m for row in rows for m in row]
    if me in summed and not attempt.released:
        attempt.released = True
        others = members_of(view.members & ~(1 << me))
        actions.append(Release(attempt.key, view.survivors, others))
    missing = [m for m in summed if m not in attempt.seeds]
    began = now if attempt.frozen_at is None else attempt.frozen_at
    if missing and now >= began + timing.patience:
        near = {h for m in missing for h in (m, *plan.neighbours[m])} - {me}
        sources = tuple(sorted(near, key=lambda m: (m - me) % 256))
        ask = AskSeeds(attempt.key, view.survivors, tuple(missing), sources)
        attempt.once("seeds", actions, ask, now=now, every=2 * timing.patience)
    if missing and now >= (began + view.final_deadline) / 2:
        _go_on_without(attempt, view, rows, actions, now, timing)
    return missing


def _go_on_without(
    attempt: Attempt, view: RoundView, rows: Rows, actions: list[Action], now: float, timing: Timing
) -> None:
    """Half of the time is over, and some survivors' masks cannot be taken off: propose to go on without them.

    Of a single group a member can be left out: its pair masks are then opened, as those of the lost are. Of several
    groups the whole group is. What was sent stays what it is: sums are of the same contributions, and nobody sends one
    anew.
    """
    single, opened = len(attempt.plan.groups) == 1, 0
    for row in rows:
        here = [m for m in row if m in attempt.seeds]
        if single or len(here) == len(row):
            opened |= sum(1 << m for m in here)
    left = attempt.plan.rows(opened, view.first_survivors)
    if len(left) < attempt.plan.needed(len(left)) or (single and opened.bit_count() < view.min_members):
        return
    for to in attempt.recipients(view, ("opening", opened), now=now, stagger=timing.stagger):
        actions.append(SendOpening(attempt.key, to, view.survivors, opened))
    pool = {m: told for m, told in attempt.openings.items() if view.members >> m & 1}
    need, spared = quorum(view.members.bit_count()), faults(view.members.bit_count())
    if len(pool) < need:
        return
    fullest = sorted(pool, key=lambda m: (-(pool[m][0] & view.survivors).bit_count(), m))[:need]
    if any(sum(not pool[m][0] >> who & 1 for m in fullest) > spared for who in members_of(view.survivors)):
        post = PostOpening(attempt.key, view.survivors, {m: pool[m] for m in sorted(fullest)})
        attempt.once("opening", actions, post, now=now, every=4 * timing.stagger)


def take_opening(attempt: Attempt, event: OpeningReceived) -> None:
    """As with holdings, the fuller of two words counts; a word on other survivors does not."""
    known = attempt.openings.get(event.member)
    if event.survivors == attempt.survivors and (known is None or event.opened.bit_count() >= known[0].bit_count()):
        attempt.openings[event.member] = (event.opened, event.signature)


def row_of(attempt: Attempt, row: tuple[int, ...]) -> Row:
    """What is summed together, with the masks that are left on the sum: every seed that was released."""
    if not attempt.plan.secret:
        return Row(row)
    masks = ((sign(dealer, target), seed) for dealer in row for target, seed in attempt.seeds[dealer].items())
    return Row(row, len(attempt.plan.group_of(row[0])), tuple(masks))
