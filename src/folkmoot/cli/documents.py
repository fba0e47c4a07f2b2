"""A peer's status as a JSON document, in the vocabulary of ``ledger.documents``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from folkmoot.peer.status import PeerStatus

__all__ = ["status_document"]

_TIMES = frozenset(("time", "since", "last", "last_contact", "failed"))
_FROM_ZERO = frozenset(("member", "attempt"))


def status_document(status: PeerStatus) -> dict[str, Any]:
    """What a peer last wrote of itself: times in ISO 8601, members and attempts counted from 1."""
    import msgspec

    told: dict[str, Any] = _told(msgspec.to_builtins(status))
    return told


def _told(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _field(key, item) for key, item in value.items()}
    return [_told(item) for item in value] if isinstance(value, list | tuple) else value


def _field(key: str, value: Any) -> Any:
    from folkmoot.ledger.records import iso, number_of

    if isinstance(value, int | float):
        if key in _TIMES:
            return iso(value)
        if key in _FROM_ZERO:
            return number_of(int(value))
    if key == "metrics":
        return {name: [{"round": round, "value": number} for round, number in points] for name, points in value.items()}
    return _told(value)
