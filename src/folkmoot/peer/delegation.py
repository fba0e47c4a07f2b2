"""Two sets of keys for one member: main ones that consent and vote, kept away, and daily ones on the peer's machine."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec

from folkmoot.errors import LocalError
from folkmoot.ledger.records import Member
from folkmoot.peer.founding import fields_of
from folkmoot.peer.home import Home

__all__ = ["delegate", "take_back"]


def delegate(home: Home, folder: Path) -> Home:
    """Put the keys in ``folder`` into daily use for the member whose main key is in ``home``; made if there are none.

    ``folder`` becomes the home of the member's peer: where the datasets lie and what was spent of their privacy goes
    along. The peer that ran with the keys before is out from that moment. Raises ``LocalError`` when ``home`` does not
    hold the main key, or ``folder`` belongs to another moot.
    """
    me = _main_of(home)
    daily = Home(folder)
    if daily.config_file.exists() and daily.config.contract != home.config.contract:
        raise LocalError(f"{folder} belongs to another moot; choose another folder")
    if folder.resolve() == home.path.resolve():
        raise LocalError("the daily keys need a folder of their own; to use the main ones again, give --back")
    keys = daily.ensure_identity()
    daily.write_config(msgspec.structs.replace(home.config))
    if home.data_file.exists() and not daily.data_file.exists():
        shutil.copyfile(home.data_file, daily.data_file)
        if home.cards.exists():
            shutil.copytree(home.cards, daily.cards, dirs_exist_ok=True)
    if home.journal.exists() and not daily.journal.exists():
        _copy(home.journal, daily.journal)
    home.moot().assembly.delegate(keys.account, fields_of(keys, me.name))
    return daily


def take_back(home: Home) -> None:
    """Put the main keys into daily use again; the others count for nothing from then on."""
    me = _main_of(home)
    if me.address == home.identity.account.address:
        raise LocalError("the main keys are in daily use already")
    home.moot().assembly.delegate(home.identity.account, fields_of(home.identity, me.name))


def _main_of(home: Home) -> Member:
    me = home.moot().me()
    if me is None:
        raise LocalError(f"{home.path} holds no member's keys")
    if me.main != home.identity.account.address:
        raise LocalError(f"{home.path} holds the daily keys of {me.name}; delegating takes its main key")
    return me


def _copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)
    target.chmod(0o600)
