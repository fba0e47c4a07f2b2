"""The moot that a moot continues: what its account says, and whether the ledger of that one bears it out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct, structs

from folkmoot.errors import IntegrityError, LocalError
from folkmoot.ledger.address import checksum_address
from folkmoot.peer.heritage import Account, account_in, account_of
from folkmoot.peer.sources import Sources, opened

__all__ = ["Forebear", "beginning_in", "check_former", "forebear", "former_account", "not_covered", "taken_over"]


class Forebear(Struct, frozen=True, forbid_unknown_fields=True):
    """The moot that a moot continues, as a document about a model of the later one names it."""

    account: str
    """Hash of the account of it, which the later one's ledger has."""
    chain_id: int | None = None
    """``None``, like the two after it, where the account is in no store."""
    contract: str | None = None
    block: int | None = None
    """Up to which the account counts."""
    task: int | None = None
    """The task there with whose model the course begins here; ``None`` where none is known."""
    round: int | None = None
    """The round of that model there."""
    not_covered: str = ""
    """What the document does not tell of what went before, in a sentence; empty where the ledger there was read."""


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


def forebear(sources: Sources, task: int, genesis: str) -> Forebear | None:
    """The moot that this one continues, and the model of it with which ``task`` begins, whose first state is
    ``genesis``; ``None`` where this moot continues none."""
    heritage = sources.moot.about().heritage
    if not any(heritage):
        return None
    hash = heritage.hex()
    if sources.find(heritage) is None:
        gap = f"this moot continues another one, whose account, blob {hash}, is in no store here"
        return Forebear(hash, not_covered=f"{gap}: what went before is not told")
    account = former_account(sources)
    assert account is not None
    known = Forebear(hash, account.chain_id, account.contract, account.block)
    if sources.former is not None:
        of, round = _made_in(sources.former, genesis)
        return structs.replace(known, task=of, round=round)
    where = f"{account.contract} on chain {account.chain_id}"
    for of, _, round, model in account.tasks:
        if round and model == genesis:
            begins = f"task {task} begins with the model of round {round} of task {of} of {where}"
            gap = f"{begins}: how that one came to be is not told without its ledger"
            return structs.replace(known, task=of, round=round, not_covered=gap)
    gap = f"whether task {task} begins with an earlier model of that one is not told without its ledger"
    return structs.replace(known, not_covered=f"this moot continues {where}: {gap}")


def _made_in(former: Sources, model: str) -> tuple[int | None, int | None]:
    """Task and round of the first round there that led to this model."""
    for entry in former.history:
        if entry.kind == "Finalised" and entry["model"].hex() == model:
            return entry["task"], entry["round"]
    return None, None


def not_covered(account: Account) -> str:
    """What to say where the ledger of the former moot has not been given."""
    return (
        f"not covered: this moot continues {account.contract} on chain {account.chain_id}; what happened there is "
        "told by folkmoot verify --former LEDGER"
    )


@contextmanager
def beginning_in(sources: Sources, ledger: str | None, upto: int | None = None) -> Iterator[Sources]:
    """``sources`` with the moot before it, from the ``ledger`` of that one (a file or a URL), which is held against the
    account first; without a ledger, ``sources`` alone. The blobs of both are looked for in the same stores.

    Raises as ``check_former``.
    """
    if ledger is None:
        yield sources
        return
    account = former_account(sources)
    contract = None if account is None else account.contract
    where, blobs = ledger if "://" in ledger else Path(ledger), [store.root for store in sources.stores]
    with opened(where, contract, blobs, upto, home=sources.home, sandbox=sources.sandbox) as before:
        check_former(sources, before)
        sources.former = before
        try:
            yield sources
        finally:
            sources.former = None


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
