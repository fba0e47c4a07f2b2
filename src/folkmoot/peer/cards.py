"""The cards of a member's datasets: what is behind the hashes on the ledger, kept in ``cards/`` and told to no one."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

import msgspec

from folkmoot.digest import blob_hash
from folkmoot.errors import DataError
from folkmoot.ledger.records import Dataset
from folkmoot.peer.durable import folder_at, replace
from folkmoot.peer.fingerprint import fingerprint_of
from folkmoot.peer.home import Home

__all__ = [
    "Card",
    "Changed",
    "description_of",
    "draw_card",
    "held_against",
    "is_card_of",
    "keep",
    "keep_file",
    "line_of",
    "read_card",
]


class Changed(DataError):
    """The data is something else than its card says."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """The description of a dataset whose hash is on the ledger. Its owner shows it to whom it likes.

    ``salt`` keeps the hash from being guessed back to a description.
    """

    description: str
    records: int
    salt: str
    fingerprint: str = ""
    """64 hex digits: ``fingerprint_of`` the data under ``salt``."""
    before: str = ""
    """Hash of the card in whose place this one has come, where the same dataset has changed."""


def draw_card(path: Path, records: int, description: str, before: str = "") -> Card:
    """The card of the dataset at ``path`` as it is now, under a salt of its own. Raises as ``fingerprint_of``."""
    salt = secrets.token_bytes(16)
    fingerprint, _ = fingerprint_of(path, salt)
    return Card(description=description, records=records, salt=salt.hex(), fingerprint=fingerprint.hex(), before=before)


def keep(home: Home, card: Card) -> bytes:
    """Keep a card in the folder of its owner; its hash, 32 bytes."""
    return _keep(home, msgspec.json.encode(card), ".json")


def keep_file(home: Home, file: Path | None) -> bytes:
    """Keep a copy of a file beside the cards; its hash, or zeros where there is none."""
    if file is None:
        return bytes(32)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from None
    return _keep(home, content, file.suffix)


def _keep(home: Home, content: bytes, suffix: str) -> bytes:
    digest = blob_hash(content)
    replace(folder_at(home.cards) / f"{digest.hex()}{suffix}", content, mode=0o600)
    return digest


def read_card(home: Home, dataset: Dataset) -> Card:
    """The card of a dataset, if what is kept is what the ledger has the hash of.

    Raises ``DataError`` where it is lost, or says nothing of the dataset's content: nobody can tell then what was
    consented to.
    """
    path = home.cards / f"{dataset.card.hex()}.json"
    try:
        content = path.read_bytes()
    except OSError:
        raise DataError(
            f"the card of dataset {dataset.id} is not in {home.cards}, so there is no telling which data it describes:"
            " take it back from a backup (folkmoot restore --file), or describe the data anew (folkmoot data add)"
        ) from None
    if blob_hash(content) != dataset.card:
        raise DataError(f"{path} is not the card of dataset {dataset.id} any more: its hash is not the ledger's")
    card = msgspec.json.decode(content, type=Card)
    if not card.fingerprint:
        raise DataError(
            f"the card of dataset {dataset.id} has no fingerprint of its data: folkmoot data update {dataset.id}"
        )
    return card


def held_against(card: Card, dataset: int, path: Path) -> bytes:
    """The mark of the data at ``path``, which is what ``card`` describes. Raises ``Changed`` where it is not."""
    found, mark = fingerprint_of(path, bytes.fromhex(card.salt))
    if found.hex() != card.fingerprint:
        raise Changed(
            f"{path} is not the data that dataset {dataset} was described by, and that was consented to: put that back,"
            f" or take up what is there now: folkmoot data update {dataset}"
        )
    return mark


def is_card_of(home: Home, dataset: Dataset, path: Path) -> bool:
    """Whether the card of a dataset is here and describes what is at ``path`` now."""
    try:
        held_against(read_card(home, dataset), dataset.id, path)
    except DataError:
        return False
    return True


def description_of(home: Home, dataset: Dataset) -> str:
    """The sentence on the card of a dataset; empty where the card is lost."""
    try:
        content = (home.cards / f"{dataset.card.hex()}.json").read_bytes()
        return msgspec.json.decode(content, type=Card).description
    except (OSError, msgspec.MsgspecError):
        return ""


def line_of(home: Home, datasets: Sequence[Dataset], dataset: int) -> tuple[int, ...]:
    """The dataset, and those in whose place it has come one after the other, as far as their cards are kept: what was
    spent of the privacy of one was spent of all."""
    known = {described.card: described for described in datasets}
    line, here = [dataset], next((d for d in datasets if d.id == dataset), None)
    while here is not None:
        try:
            before = bytes.fromhex(read_card(home, here).before)
        except DataError:
            break
        here = known.get(before)
        if here is None or here.id in line:
            break
        line.append(here.id)
    return tuple(line)
