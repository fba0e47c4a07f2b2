"""A backup file: what a member cannot get from the others when its machine is lost.

That is its keys, how it reached its moot, and its datasets: where they lay, and the cards behind the hashes on the
ledger, without which nobody can tell what was consented to. The data itself is not in it, and neither is the journal:
an old one would be worse than none.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from folkmoot.digest import blob_hash
from folkmoot.errors import IntegrityError
from folkmoot.peer.durable import folder_at, replace
from folkmoot.peer.home import Config, Home
from folkmoot.peer.identity import Identity, read_secret, write_secret

__all__ = ["Backup", "read_backup", "restore", "save_backup"]

_FORMAT = "folkmoot-backup-1"
_CARD = re.compile(r"([0-9a-f]{64})(\.[A-Za-z0-9]{1,16})?")


class Backup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the file holds, as JSON."""

    format: str
    identity: msgspec.Raw
    """As the identity file has it."""
    config: Config | None = None
    """``None`` for keys that belong to no moot yet."""
    data: dict[int, str] = msgspec.field(default_factory=dict)
    """Where each dataset lay, by its number on the ledger."""
    cards: dict[str, bytes] = msgspec.field(default_factory=dict)
    """The files in ``cards/`` by name, which begins with the hash of the content."""


def save_backup(home: Home, file: Path) -> None:
    """Write the backup of ``home`` to a new file that only its owner can read. Raises ``LocalError`` when it exists."""
    cards = sorted(home.cards.iterdir()) if home.cards.is_dir() else []
    made = Backup(
        format=_FORMAT,
        identity=msgspec.Raw(home.identity.encoded()),
        config=home.config if home.config_file.exists() else None,
        data=home.data(),
        cards={card.name: card.read_bytes() for card in cards if _CARD.fullmatch(card.name)},
    )
    write_secret(file, msgspec.json.format(msgspec.json.encode(made)) + b"\n")


def read_backup(file: Path) -> tuple[Identity, Backup | None]:
    """What a backup file holds; of an identity file the keys alone.

    Raises ``LocalError`` when it cannot be read, or by others too, and ``IntegrityError`` when it is damaged.
    """
    raw = read_secret(file)
    try:
        found = msgspec.json.decode(raw, type=Backup)
    except msgspec.MsgspecError:
        return Identity.parse(raw, file), None
    if found.format != _FORMAT:
        raise IntegrityError(f"{file} is a backup of the format {found.format!r:.40}; this version reads {_FORMAT}")
    for name, content in found.cards.items():
        if (match := _CARD.fullmatch(name)) is None or blob_hash(content).hex() != match[1]:
            raise IntegrityError(f"{file} is damaged: the card {name[:16]} in it is not what its name says")
    return Identity.parse(bytes(found.identity), file), found


def restore(path: Path, identity: Identity, found: Backup | None) -> Home:
    """Put the keys into the folder ``path``, and what else a backup holds that is not there yet; the home.

    Raises ``LocalError`` when the folder holds another identity.
    """
    home = Home(path)
    home.ensure_identity(identity)
    if found is None:
        return home
    if found.config is not None and not home.config_file.exists():
        home.write_config(found.config)
    for name, content in found.cards.items():
        replace(folder_at(home.cards) / name, content, mode=0o600)
    known = home.data()
    for dataset, place in found.data.items():
        if dataset not in known:
            home.add_data(dataset, Path(place))
    return home
