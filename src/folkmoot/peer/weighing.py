"""The weights of votes, which go along when a moot moves.

No contract carries them over: in the successor every vote weighs 1 until a motion says otherwise. So each member that
follows moves there that the votes weigh what the account of the old moot says, and votes for it; running peers do it by
themselves. Until such a motion was enacted for everyone it concerns, nobody votes for anything else, and peers take up
no task.
"""

from __future__ import annotations

from folkmoot.digest import Hash
from folkmoot.errors import LedgerRefused, LocalError
from folkmoot.ledger import Moot, chronicle
from folkmoot.ledger.motions import Kind
from folkmoot.peer import governing
from folkmoot.peer.heritage import Account, account_in
from folkmoot.store import Store

__all__ = ["account_here", "carry", "check_carried", "owed"]


def account_here(store: Store, heritage: Hash) -> Account | None:
    """The account of the moot before; ``None`` where there is none, or it is not in this store yet."""
    if not any(heritage) or not store.has(heritage):
        return None
    return account_in(store.get(heritage), heritage)


def owed(moot: Moot, account: Account) -> dict[int, int]:
    """For each member whose vote had a weight in the moot before that no motion here has given it again, that weight.

    What the members decide once it was given is theirs: a weight that they changed later is not owed.
    """
    seats: dict[str, int] = {}
    moved: dict[int, tuple[int, int]] = {}
    given: set[tuple[int, int]] = set()
    gone: set[int] = set()
    for entry in chronicle.entries(moot):
        if entry.kind == "Seated":
            seats.setdefault(entry["main"], entry["member"])
        elif entry.kind == "Removed":
            gone.add(entry["member"])
        elif entry.kind == "Moved" and entry["kind"] == Kind.WEIGH:
            member, weight, _ = entry["words"]
            moved[entry["motion"]] = member, weight
        elif entry.kind == "Enacted" and entry["motion"] in moved:
            given.add(moved[entry["motion"]])
    due = ((seats[main], weight) for main, weight in account.weights.items() if main in seats)
    return {member: weight for member, weight in due if member not in gone and (member, weight) not in given}


def carry(moot: Moot, account: Account, signer: str) -> dict[int, int]:
    """Move, or vote for, and enact what is ``owed``; what is owed then. ``moot`` signs as the account ``signer``.

    Voting takes a member's main key: where the signer is no main account, nothing is done.
    """
    due, me = owed(moot, account), moot.me()
    if not due or me is None or me.main != signer:
        return due
    pending = {m.words[:2]: m for m in governing.pending(moot) if m.kind is Kind.WEIGH}
    for member, weight in due.items():
        motion = pending.get((member, weight))
        try:
            if motion is None:
                governing.move(moot, Kind.WEIGH, member, weight)
            elif (motion.ayes | motion.noes) >> me.index & 1:
                governing.enact(moot, motion.id)
            else:
                governing.vote(moot, motion.id)
        except LedgerRefused:
            continue  # the window is over, or this member has as many open motions as it may: later, or another does
    return owed(moot, account)


def check_carried(moot: Moot, account: Account | None) -> None:
    """Raise ``LocalError``, naming whose, where the weight of a vote was not carried over yet."""
    due = {} if account is None or not account.weights else owed(moot, account)
    if not due:
        return
    names = {member.index: member.name for member in moot.members()}
    pending = {m.words[:2]: m.id for m in governing.pending(moot) if m.kind is Kind.WEIGH}
    told = [
        f"{names[member]}'s vote weighed {weight} (folkmoot vote {pending[member, weight]})"
        if (member, weight) in pending
        else f"{names[member]}'s vote weighed {weight} (folkmoot move weigh {names[member]} {weight})"
        for member, weight in due.items()
    ]
    raise LocalError(f"in the moot before, {', '.join(told)}: nothing else is decided or trained here before that is")
