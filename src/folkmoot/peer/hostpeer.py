"""What the hosted chain needs of the peer that it is a part of: its keys, the members it knows, its node, its log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from folkmoot.ledger import Moot, Signer
from folkmoot.ledger.records import Member
from folkmoot.network import Listening, Node

__all__ = ["Folder", "HostedPeer", "Keys"]


class Keys(Protocol):
    """A member's keys, as far as visits to a host and votes for one need them: ``home.identity.Identity`` has them."""

    @property
    def endpoint(self) -> bytes:
        """32 bytes: the Ed25519 public key by which its peer is known on the network."""

    @property
    def endpoint_secret(self) -> bytes:
        """32 bytes: the private half."""

    @property
    def account(self) -> Signer:
        """What signs for the member on the ledger."""


class Folder(Protocol):
    """The peer's folder: ``home.folder.Home``."""

    @property
    def chain_folder(self) -> Path:
        """Where the copy of the chain lies, and what belongs to it."""

    def settle(self, where: Listening, *, fixed: bool = False) -> None:
        """Remember where the peer listens."""


class HostedPeer(Protocol):
    """A running peer: ``peer.context.PeerContext``. ``index`` is its member's number on the ledger, from 0."""

    @property
    def home(self) -> Folder:
        """Its folder."""

    @property
    def identity(self) -> Keys:
        """Its member's keys."""

    @property
    def index(self) -> int:
        """Its bit in every bitmap of members."""

    @property
    def moot(self) -> Moot:
        """The ledger."""

    @property
    def node(self) -> Node:
        """The network."""

    @property
    def members(self) -> Mapping[int, Member]:
        """All members there ever were, by index."""

    @property
    def living(self) -> Sequence[int]:
        """Those that belong to the moot now."""

    def member_with(self, endpoint: bytes) -> int | None:
        """The member whose peer has this endpoint."""

    def log(self, event: str, **fields: object) -> None:
        """Write a line to the peer's log."""

    def complain(self, what: str | BaseException, *, kind: Literal["host"] | None = None, about: str = "") -> None:
        """Show an error in the peer's status until ``settle(about)``."""

    def complains_about(self, about: str) -> bool:
        """Whether such an error is shown now."""

    def settle(self, *about: str) -> None:
        """What was said about these things is over."""
