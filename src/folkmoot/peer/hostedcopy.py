"""The copy of a hosted chain in a member's folder, while no peer runs there: a command fetches it anew, fetches what is
new of it, and brings a transaction to the host.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager

from folkmoot.errors import ChainError
from folkmoot.ledger import Chain, Moot
from folkmoot.ledger.hostbook import LEDGER, Hostbook
from folkmoot.ledger.hosted import HostedReplica
from folkmoot.ledger.hosting import HostUrl
from folkmoot.peer.guest import Visitor
from folkmoot.peer.home import Home, HomeTaken
from folkmoot.peer.visit import visiting

__all__ = ["bring", "catch_up", "prepare"]

LOOK_SECONDS, LOOK_DOORS = 3.0, 2
"""For each answer, and how many members are asked, where a command only sees what is new."""
_log = logging.getLogger(__name__)


def prepare(home: Home) -> None:
    """Fetch the chain anew where a hosted moot's member has lost its copy."""
    if not home.hosted:
        return
    founder = HostUrl.parse(home.config.ledger)
    with closing(Hostbook(home.chain_folder, founder.endpoint)) as book:
        gone, own = not book.ledger.exists(), book.host == home.identity.endpoint
    if gone and own:
        raise ChainError(
            f"{home.chain_folder / LEDGER} is gone, and this peer hosts the chain: let the other members vote for "
            "another host (folkmoot host move), and join again with a ticket of theirs"
        )
    if gone:
        visitor = Visitor(folder=home.chain_folder, keys=home.identity, contract=home.config.contract, founder=founder)
        with visiting(visitor):
            pass


def bring(home: Home, copy: HostedReplica, raw: bytes) -> bool:
    """Bring a member's transaction to the host where no peer does; whether that was possible, for who else has the
    home is to do it. Raises as ``folkmoot.ledger.hosted.Carry`` does."""
    try:
        with home.lock("visit"), _as_member(home, copy) as there:
            there.send(raw)
    except HomeTaken:
        return False
    return True


def catch_up(home: Home, copy: HostedReplica) -> None:
    """Get what is new of the chain where no peer does. A host that does not answer is said, and no error: a member may
    look at what it has."""
    if copy.hosting:
        return
    try:
        with home.lock("visit"), _as_member(home, copy, LOOK_SECONDS, LOOK_DOORS):
            pass
    except HomeTaken:
        pass  # its peer runs, or another command is there just now
    except ChainError as error:
        _log.warning("this is the moot as of block %d, which may be old: %s", copy.number, error)


@contextmanager
def _as_member(
    home: Home, copy: HostedReplica, seconds: float | None = None, most: int | None = None
) -> Iterator[HostedReplica]:
    founder = HostUrl.parse(home.config.ledger)
    others = [m for m in Moot(Chain(copy), home.config.contract).members() if m.living and m.endpoint != copy.me]
    others.sort(key=lambda member: member.endpoint != copy.book.host)
    known = {member.endpoint: member.addresses for member in others if member.addresses}
    known[founder.endpoint] = tuple(dict.fromkeys((*known.get(founder.endpoint, ()), *founder.addresses)))
    doors = [HostUrl(endpoint, addresses) for endpoint, addresses in known.items() if endpoint != copy.me]
    visitor = Visitor(
        folder=home.chain_folder,
        keys=home.identity,
        contract=home.config.contract,
        founder=founder,
        doors=doors[:most],
        seconds=seconds,
    )
    with visiting(visitor) as there:
        yield there
