"""A member's datasets: described on the ledger, taken up anew when they have changed, found again where they lie."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from folkmoot.errors import DataError, LocalError
from folkmoot.ledger import Moot
from folkmoot.ledger.records import Dataset
from folkmoot.peer.cards import description_of, draw_card, held_against, is_card_of, keep, keep_file, read_card
from folkmoot.peer.home import Home
from folkmoot.task.datafile import records_in

__all__ = [
    "Updated",
    "add_dataset",
    "check_granted",
    "count_records",
    "place_of",
    "relink",
    "rounded",
    "update_dataset",
]


class Updated(NamedTuple):
    """A dataset that was taken up anew."""

    dataset: Dataset
    tasks: tuple[int, ...]
    """The tasks that the one before was granted to; none of them has a grant for this one."""


def add_dataset(
    home: Home,
    path: Path,
    records: int,
    description: str = "",
    *,
    schema: Path | None = None,
    terms: Path | None = None,
) -> Dataset:
    """Describe the dataset at ``path`` on the ledger, and remember in ``home`` where it lies.

    The ledger gets the number of records as given, and hashes: of the card, of what the records look like (the file
    ``schema``) and of what its owner asks for (the file ``terms``). What is behind them is kept in ``home/cards``; the
    card holds the data's fingerprint, so a grant is for the data as it is now.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist; name the dataset's file or folder")
    card = keep(home, draw_card(path, records, description))
    moot = home.moot()
    id = moot.describe(card, records, schema=keep_file(home, schema), conditions=keep_file(home, terms))
    home.add_data(id, path)
    return moot.dataset(id)


def update_dataset(home: Home, dataset: int, records: int, path: Path) -> Updated:
    """Take up what is at ``path`` now as a dataset of its own, in the place of ``dataset``.

    Grants of the one before are revoked: they were for other data. What was spent of its privacy counts for the new
    one. Raises ``LocalError`` where nothing has changed.
    """
    moot = home.moot()
    old = _own(moot, dataset)
    if is_card_of(home, old, path):
        raise LocalError(f"{path} is what dataset {dataset} describes already: there is nothing to take up")
    card = draw_card(path, records, description_of(home, old), before=old.card.hex())
    id = moot.describe(keep(home, card), records, schema=old.schema, conditions=old.conditions)
    home.add_data(id, path)  # before the other goes: whatever happens in between, one of the two is known
    tasks = tuple(_granted(moot, dataset))
    for task in tasks:
        moot.revoke(task)
    home.forget_data(dataset)
    return Updated(moot.dataset(id), tasks)


def relink(home: Home, dataset: int, path: Path) -> None:
    """Remember that a dataset lies at ``path``. Raises ``DataError`` unless what is there is what its card says."""
    described = _own(home.moot(), dataset)
    held_against(read_card(home, described), dataset, path)
    home.add_data(dataset, path)


def check_granted(home: Home, moot: Moot, dataset: int) -> Path | None:
    """Where a dataset lies that is to be granted, if that is still what its card says; ``None`` where the member's peer
    runs elsewhere, with daily keys: it has the data, and looks at it itself. Raises ``DataError``."""
    described, me = _own(moot, dataset), moot.me()
    if me is not None and me.address != home.identity.account.address:
        return None
    path = place_of(home, dataset)
    held_against(read_card(home, described), dataset, path)
    return path


def count_records(path: Path) -> int:
    """``records_in`` a file, rounded so that it tells little."""
    return rounded(records_in(path))


def rounded(records: int) -> int:
    """The number to two digits."""
    step: int = 10 ** max(0, len(str(records)) - 2)
    return (records + step // 2) // step * step


def _own(moot: Moot, dataset: int) -> Dataset:
    described, me = moot.dataset(dataset), moot.me()
    if me is None or described.owner != me.index:
        raise LocalError(f"dataset {dataset} is another member's; see: folkmoot data list")
    return described


def place_of(home: Home, dataset: int) -> Path:
    """Where a dataset lies, as far as this home was told. Raises ``DataError``."""
    known = home.data().get(dataset)
    if known is None:
        raise DataError(
            f"{home.path} does not know where dataset {dataset} lies: tell it (folkmoot data relink {dataset} PATH), or"
            " describe the data anew (folkmoot data add PATH); see folkmoot data list"
        )
    return Path(known)


def _granted(moot: Moot, dataset: int) -> Iterator[int]:
    """The tasks that a dataset of this member's is granted to."""
    me = moot.me()
    for task in moot.tasks():
        grant = None if me is None else moot.grant_of(task.id, me.index)
        if grant is not None and grant.dataset == dataset:
            yield task.id
