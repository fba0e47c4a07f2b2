"""The moot that a moot continues: what its account says, and whether the ledger of that one bears it out."""

from __future__ import annotations

from collections.abc import Sequence

from folkmoot.errors import IntegrityError, LocalError
from folkmoot.ledger.address import checksum_address
from folkmoot.peer.migration import Account, account_in, account_of
from folkmoot.peer.sources import Sources

__all__ = ["check_former", "former_account", "not_covered", "taken_over"]


def former_account(sources: Sources) -> Account | None:
    """The account of the moot that this one continues; ``None`` where it continues none.

    Raises ``LocalError`` where the account is in no store: then nothing is known of what was taken over.
    """
    heritage = sources.moot.about().heritage
    if not any(heritage):
        return None
    return account_in(sources.get(heritage, "the account of the moot that this one continues"), heritage)


def taken_over(sources: Sources) -> list[str]:
    """Of each task whose first state is a model of the former moot, a sentence that says which."""
    account = former_account(sources)
    if account is None:
        return []
    models = {model: (task, round) for task, _, round, model in account.tasks if round}
    found = []
    for record in sources.moot.tasks():
        if before := models.get(record.genesis.hex()):
            task, round = before
            found.append(
                f"task {record.id} begins with the model of round {round} of task {task} of {account.contract} "
                f"on chain {account.chain_id}, as of its block {account.block}"
            )
    return found


def not_covered(account: Account) -> str:
    """What to say where the ledger of the former moot has not been given."""
    return (
        f"not covered: this moot continues {account.contract} on chain {account.chain_id}; what happened there is "
        "told by folkmoot verify --former LEDGER"
    )


def check_former(sources: Sources, former: Sources) -> Sequence[str]:
    """Hold ``former`` against what this moot says of the one that it continues; what was taken over, as ``taken_over``.

    Raises ``IntegrityError`` unless that one has moved here, by the record on its ledger, with exactly this account of
    it, and ``LocalError`` where this moot continues none.
    """
    account, moot = former_account(sources), sources.moot
    if account is None:
        raise LocalError("this moot continues no other one")
    if (former.moot.chain_id, former.moot.address) != (account.chain_id, checksum_address(account.contract)):
        raise IntegrityError(f"this moot continues {account.contract} on chain {account.chain_id}, not that one")
    moves = [
        (entry["chain_id"], checksum_address(entry["successor"]), entry["state"])
        for entry in former.history
        if entry.kind == "Retired"
    ]
    if (moot.chain_id, moot.address, moot.about().heritage) not in moves:
        raise IntegrityError(f"{account.contract} has not moved to {moot.address} with this account of it")
    if account_of(former.moot, account.block, account.ledger) != account:
        raise IntegrityError(f"the account of {account.contract} is not what its ledger says up to {account.block}")
    return taken_over(sources)
