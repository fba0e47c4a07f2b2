"""What one peer's own folder adds to an audit: what it refused, what its administrator did without, what it let go.

Nobody else can check it, and none of it says anything of the data.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from folkmoot.ledger.records import iso
from folkmoot.peer.durable import replace
from folkmoot.peer.home import Home
from folkmoot.peer.journal import Journal, Override, early_overrides, overrides, strayed
from folkmoot.peer.log import Log

__all__ = ["own_record", "record_override"]

_REFUSALS = ("refused a message", "refused", "error", "distrusts the host", "no evidence", "accuses")
"""Events of a peer's log that are refusals, or complaints."""
_MOST = 1_000
_WORDS = 300


def own_record(home: Home) -> dict[str, Any]:
    """The member's name and number, its overrides of safeguards, when it found granted data changed, and what its log
    says that it refused.

    Raises ``StoreError`` when the journal cannot be read.
    """
    me = home.moot().me()
    return {
        "member": None if me is None else me.number,
        "name": home.config.name,
        "overrides": [{"time": iso(o.time), "what": o.what, "how": o.how} for o in overrides(home)],
        "data": [{"time": iso(s.time), "dataset": s.dataset, "task": s.task, "found": s.what} for s in strayed(home)],
        "refused": _refused(home.log_file),
    }


def record_override(home: Home, what: str, how: str) -> None:
    """Record for good that a command did without the safeguard ``what``, and have the peer's log say it.

    It goes into the journal. Only the running peer begins one, because it has to notice when it is gone: until then
    records are kept in a file of their own, which stays.
    """
    with closing(Log(home.log_file)) as log:
        log.write("override", what=what, how=how)
    if home.journal.exists():
        with closing(Journal(home.journal)) as journal:
            journal.override(what, how)
    else:
        told = [*early_overrides(home), Override(time.time(), what, how)]
        replace(home.early_overrides, msgspec.json.encode(told), mode=0o600)


def _refused(log: Path) -> list[dict[str, Any]]:
    """What the log has of refusals, the same ones together, in the order of when they first came."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for path in (Path(f"{log}.1"), log):
        for line in path.read_bytes().splitlines() if path.exists() else ():
            try:
                record = msgspec.json.decode(line, type=dict[str, Any])
            except msgspec.MsgspecError:
                continue  # a line that a full disk cut short
            event = record.get("event")
            if event not in _REFUSALS:
                continue
            why = str(record.get("reason") or record.get("message") or record.get("error") or record.get("what") or "")
            row = found.setdefault(
                (event, why[:_WORDS]),
                {"event": event, "why": why[:_WORDS], "times": 0, "first": _moment(record), "last": None},
            )
            row["times"] += 1
            row["last"] = _moment(record)
    return list(found.values())[-_MOST:]


def _moment(record: Mapping[str, Any]) -> str | None:
    seconds = record.get("time")
    return iso(seconds) if isinstance(seconds, int | float) else None
