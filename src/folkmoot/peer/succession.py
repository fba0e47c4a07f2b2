"""The ledger that a moot moves to, as a member reaches it before the moot is there.

A file or a node is open to whoever knows where it is. A hosted chain is not: its host answers those it lets in. So the
mover founds it in a folder of its home, which is the home of a second peer, and that one hosts it. It lets in each
member of the old moot by its main key, for that is a voucher of the successor; no ticket is needed. A member keeps the
copy of the chain that it has looked at, with the host's signatures: a host that shows it another chain later has proved
that it lied.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import msgspec

from folkmoot.digest import Hash
from folkmoot.errors import ChainError, LocalError
from folkmoot.ledger import Chain, create_chain
from folkmoot.ledger.chain import is_hosted
from folkmoot.ledger.hostbook import LEDGER, Hostbook
from folkmoot.ledger.hosting import HostUrl
from folkmoot.network import Listening
from folkmoot.peer.durable import folder_at
from folkmoot.peer.founding import chain_at, listens, located
from folkmoot.peer.guest import Visitor
from folkmoot.peer.home import HERE, Config, Home
from folkmoot.peer.outbox import open_copy
from folkmoot.peer.visit import hosting_url, visiting

__all__ = ["chain_folder", "found_chain", "host_address", "reached", "settle_host", "settled"]


def chain_folder(home: Home, state: Hash) -> Path:
    """The folder of this home for the hosted chain of the successor whose heritage is ``state``."""
    return home.path / f"chain-{state.hex()[:8]}"


def host_address(home: Home, listen: str | None = None) -> tuple[str, str]:
    """The URL of a chain that this member's second peer hosts, and where that listens: at ``listen``, or beside the
    first one, at its next port that is free."""
    own = Listening.parse(home.config.bind)
    beside = own.at(own.port + 1 if own.port else 0)
    return hosting_url(home.identity, listen or f"{beside.settled}+")


def found_chain(home: Home, url: str, state: Hash) -> Chain:
    """A new chain for the successor whose heritage is ``state``, hosted by this member at ``url``."""
    folder = folder_at(chain_folder(home, state))
    create_chain(folder / LEDGER, genesis_time=int(time.time()))
    return Chain(open_copy(folder, url, home.identity.endpoint))


def settle_host(home: Home, state: Hash, config: Config) -> None:
    """Make the folder of the successor's chain the home of the peer that hosts it."""
    Home.create(chain_folder(home, state), config, home.identity)


def settled(home: Home, config: Config, url: str, state: Hash) -> Config:
    """``config``, for a peer of the successor whose chain was founded at ``url`` and whose copy is in this home."""
    folder = chain_folder(home, state)
    host, bind = Home(folder), config.bind
    if host.config_file.exists():  # the others know this member's peer by where it has hosted the chain
        bind = host.config.bind
    elif Listening.parse(bind).is_local and listens(url) != HERE:
        bind = listens(url)
    return msgspec.structs.replace(config, ledger=url, bind=bind, chain_folder=folder.name)


@contextmanager
def reached(
    home: Home, said: str, contract: str, chain_id: int, state: Hash, ledger: str | None = None
) -> Iterator[Chain]:
    """The successor's chain, of which ``said`` is where its founder says it is, ``ledger`` where it is for you.

    Raises ``ChainError`` where it cannot be reached, ``LocalError`` where another chain is there.
    """
    where = located(ledger or said)
    if is_hosted(where) != is_hosted(said):
        raise LocalError(f"the successor stands on {said}; {where} cannot be that ledger")
    with ExitStack() as stack:
        chain = _copy(home, stack, said, where, contract, state) if is_hosted(where) else chain_at(where)
        if chain.id == chain_id:
            yield chain
            return
    if is_hosted(where):
        shutil.rmtree(chain_folder(home, state))  # or the true one would be refused for not being this one
    raise LocalError(f"{where} is chain {chain.id}, and the moot moves to chain {chain_id}")


def _copy(home: Home, stack: ExitStack, said: str, where: str, contract: str, state: Hash) -> Chain:
    """This member's copy of the hosted chain: the host's own, or one that a visit has brought up to date."""
    folder, keys, founder = folder_at(chain_folder(home, state)), home.identity, HostUrl.parse(said)
    with closing(Hostbook(folder, founder.endpoint)) as book:
        own = book.host == keys.endpoint and book.ledger.exists()
    if own:
        return Chain(open_copy(folder, said, keys.endpoint))
    visitor = Visitor(
        folder=folder,
        keys=keys,
        contract=contract,
        founder=founder,
        doors=[HostUrl.parse(where)],
        voucher=bytes(keys.account.key),
    )
    stack.enter_context(Home(folder).lock("visit"))
    try:
        return Chain(stack.enter_context(visiting(visitor)))
    except ChainError as error:
        raise ChainError(
            f"{error}. Nothing about the successor can be checked without its host: if it does not run, its mover "
            "starts it (folkmoot run --home FOLDER, as move migrate printed); if it is elsewhere now, give --ledger URL"
        ) from None
