"""What stays in the purse of a moot that moves, and how those to whom it belongs get it.

No contract carries a bounty over. A task that is stopped has its rounds paid out by those who made them, and where it
had none its funders take everything back. So a moot moves once the tasks with a bounty are done and settled, unless its
members choose to leave what is there; what is owed, or to be taken back, can be had from the old moot for ever.
"""

from __future__ import annotations

from pathlib import Path

from folkmoot.errors import LocalError
from folkmoot.ledger import Moot
from folkmoot.ledger.records import Phase
from folkmoot.peer.heritage import Account
from folkmoot.peer.home import Home
from folkmoot.peer.weighing import account_here

__all__ = ["check_bounties", "kept_file", "left_behind", "moot_before"]


def check_bounties(moot: Moot, account: Account) -> None:
    """Raise ``LocalError`` where a move would leave a bounty out of reach: of a task that is not done, or one that its
    members funded for rounds that are not paid for yet."""
    for task, token, amount in account.bounties:
        view = moot.round_view(task)
        what = f"{amount} of {token} are set aside for task {task}, which would stay behind"
        if view.phase is not Phase.DONE:
            raise LocalError(f"{what}: stop it first (folkmoot move stop {task}), or see --leave-bounties")
        if moot.finals(task) and _open(moot, task, token) and _ours(moot, task, token):
            raise LocalError(f"{what}: have running peers settle it (folkmoot rewards {task}), or see --leave-bounties")


def left_behind(old: Moot, account: Account) -> list[str]:
    """What there is to be had from the moot that was left, or is lost there, in a sentence each with what to do."""
    me = old.me()
    tokens = dict.fromkeys(token for task in account.tasks for token in old.purse.funders(task[0], old.about().born))
    told = [
        f"the vote of {account.members[who]} weighed {weight}: the successor's first motions say so again, and running "
        "peers vote for them by themselves"
        for who, weight in account.weights.items()
    ]
    for task, token, _ in account.bounties:
        amount = _open(old, task, token)
        if amount and not old.finals(task):
            how = f"its funders have it back by folkmoot rewards reclaim {task} --before-move"
            told.append(f"{amount} of {token} were set aside for task {task}, and no round of it was final: {how}")
        elif amount:
            told.append(f"{amount} of {token} for task {task} stay in the old moot unpaid: nobody settled it in time")
    for token in tokens if me is not None else ():
        if me is not None and (due := old.purse.owed(token, me.index)):
            told.append(f"{due} of {token} are owed to you: folkmoot rewards claim --before-move")
    return told


def moot_before(home: Home) -> Moot:
    """The moot from which this home followed to the one that it belongs to, with this member's main key.

    Raises ``LocalError`` where it followed none.
    """
    account = account_here(home.store(), home.moot().about().heritage)
    kept = None if account is None else kept_file(home.config_file, account.chain_id, account.contract)
    if kept is None or not kept.exists():
        raise LocalError(f"{home.path} followed no moot to where it is")
    before = Home(home.path)
    before.config_file = kept
    return before.moot()


def kept_file(file: Path, chain_id: int, contract: str) -> Path:
    """Where a file of a home, as it was in a moot, is kept once the home has followed that one.

    The chain is in its name: a contract founded by the same account on a new chain may have the same address.
    """
    return file.with_name(f"{file.stem}-{chain_id}-{contract[2:10].lower()}{file.suffix}")


def _open(moot: Moot, task: int, token: str) -> int:
    pot = moot.purse.pot(task, token)
    return pot.funded - pot.released


def _ours(moot: Moot, task: int, token: str) -> bool:
    """Whether a member, or the moot by its vote, has set something aside: anybody may with a token worth nothing."""
    about = moot.about()
    ours = {account for member in moot.members() for account in (member.address, member.main)} | {about.assembly}
    return bool(moot.purse.funders(task, about.born).get(token, set()) & ours)
