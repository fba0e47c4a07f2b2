"""What members decide together, as one member does it: put to the vote, vote, have it done."""

from __future__ import annotations

from folkmoot.errors import LedgerRefused
from folkmoot.ledger import Moot
from folkmoot.ledger.motions import Kind, Motion
from folkmoot.ledger.records import Standing

__all__ = ["adoption_of", "enact", "move", "pending", "vote"]


def move(moot: Moot, kind: Kind, *words: int, reasons: bytes = bytes(32)) -> Motion:
    """Put something to the vote, which is a vote for it; where that is enough, it is done at once. The motion after."""
    return enact(moot, moot.assembly.move(kind, *words, reasons=reasons))


def vote(moot: Moot, motion: int, aye: bool = True) -> Motion:
    """Vote; with the vote that makes it pass, it is done at once. The motion after.

    Where it is done already, no vote is needed any more, and none is cast.
    """
    try:
        moot.assembly.vote(motion, aye)
    except LedgerRefused:
        if not moot.assembly.motion(motion).done:
            raise
    return enact(moot, motion)


def enact(moot: Moot, id: int) -> Motion:
    """Have done what the motion says, if it has passed; the motion after. Who comes second finds it done."""
    motion = moot.assembly.motion(id)
    if motion.passed and not motion.done:
        try:
            moot.assembly.enact(id)
        except LedgerRefused:
            if not moot.assembly.motion(id).done:
                raise
        motion = moot.assembly.motion(id)
    return motion


def pending(moot: Moot) -> list[Motion]:
    """The motions on which votes count now, or that have passed and are not done yet."""
    now = moot.now()
    return [m for m in moot.assembly.unsettled(now) if m.state(now) in ("open", "passed")]


def adoption_of(moot: Moot, task: int) -> Motion | None:
    """The latest motion to adopt a task, if it is still pending."""
    wanted = (task, int(Standing.ADOPTED), 0)
    found = [m for m in pending(moot) if m.kind is Kind.STEER and m.words == wanted]
    return found[-1] if found else None
