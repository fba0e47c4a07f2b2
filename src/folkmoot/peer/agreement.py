"""What members agree on with their exchange keys, and which keys the masks of an attempt are made with.

A member may put other keys in use at any time. Were each peer to take those that it knows of, two would mask one
attempt with different ones, and nobody could take their masks off. So it is the keys that stood before the block in
which the attempt opened, for everyone; who has put its own in use since has no part in its masks.
"""

from __future__ import annotations

from folkmoot.errors import NetworkError
from folkmoot.ledger import Moot
from folkmoot.ledger.chronicle import entries
from folkmoot.round.seeds import agree
from folkmoot.round.view import called

__all__ = ["Agreement"]


class Agreement:
    """The exchange keys of all members, as the ledger shows them, for the member whose ``secret`` this is."""

    def __init__(self, moot: Moot, secret: bytes) -> None:
        self._moot = moot
        self._secret = secret
        self._seen: dict[int, tuple[int, bytes]] = {}
        """For each member the block, as contracts see it, in which it put its present key in use, and the key."""
        self._used: dict[int, list[tuple[int, bytes]]] = {}
        """The same for every key that it ever had, in order."""
        self._agreed: dict[bytes, bytes] = {}

    def read(self) -> None:
        """Learn from the ledger which keys there are. Raises ``ChainError`` when it cannot be read."""
        seen = {member.index: (member.since, member.exchange) for member in self._moot.members()}
        if seen == self._seen:
            return
        used: dict[int, list[tuple[int, bytes]]] = {}
        if any(since for since, _ in seen.values()):
            for entry in entries(self._moot):
                if entry.kind in ("Joined", "Delegated"):
                    key = entry.fields.get("since", 0), entry["exchange"]
                    used.setdefault(entry["member"], []).append(key)
        else:
            used = {member: [key] for member, key in seen.items()}
        self._seen, self._used = seen, used

    def is_newer(self, member: int, opened: int) -> bool:
        """Whether a member's present key was put in use in the block ``opened`` or later."""
        return member in self._seen and self._seen[member][0] >= max(opened, 1)

    def shared(self, member: int, opened: int) -> bytes:
        """What X25519 agrees with the key that ``member`` had before the block ``opened``; computed once for each key.

        Raises ``NetworkError`` when it is not known here.
        """
        stood = [key for since, key in self._used.get(member, ()) if since < opened]
        if not stood:
            raise NetworkError(f"the exchange key of {called(member)} is not known here yet")
        if stood[-1] not in self._agreed:
            self._agreed[stood[-1]] = agree(self._secret, stood[-1])
        return self._agreed[stood[-1]]
