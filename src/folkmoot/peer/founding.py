"""How a member comes into a moot: found one, join with a ticket, vote for a newcomer."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from folkmoot.errors import ChainError, LocalError
from folkmoot.ledger import Chain, Moot, create_chain, open_chain
from folkmoot.ledger.chain import is_hosted
from folkmoot.ledger.hostbook import LEDGER
from folkmoot.ledger.hosting import HostUrl
from folkmoot.ledger.motions import Kind
from folkmoot.ledger.records import JoinFields
from folkmoot.ledger.statements import address_of
from folkmoot.network import Listening
from folkmoot.peer import governing, guest, visit
from folkmoot.peer.home import EVERYWHERE, HERE, Config, Home
from folkmoot.peer.identity import Identity
from folkmoot.peer.outbox import open_copy
from folkmoot.peer.ticket import Ticket

__all__ = ["chain_at", "fields_of", "found", "join", "listens", "located", "vote"]


def found(
    folder: Path,
    *,
    name: str,
    seats: int,
    member: str,
    ledger: str | None = None,
    hosted: bool = False,
    listen: str | None = None,
    identity: Identity | None = None,
) -> tuple[Home, Ticket]:
    """Found a moot called ``name`` as its member 0; the ticket admits the others until there are ``seats``.

    ``ledger`` is the file of an embedded chain, which is made if it is not there (``folder/ledger.sqlite`` unless
    told), or the URL of a node, or several with commas between them. With ``hosted`` the founder's peer hosts the chain
    for the others. ``listen`` is where that peer listens, ``IP:PORT``; loopback unless told, or all addresses where the
    ledger is on another machine. Raises ``LocalError`` when ``folder`` belongs to a moot already.
    """
    home = _unbound(folder)
    _check_listen(listen)
    keys = home.ensure_identity(identity)
    if hosted:
        where, listen = visit.hosting_url(keys, listen or HERE)
        create_chain(folder / LEDGER, genesis_time=int(time.time()))
        chain = Chain(open_copy(folder, where, keys.endpoint))
    else:
        where = located(ledger or str(folder / "ledger.sqlite"))
        chain = chain_at(where, create=True)
    config = Config(name=member, ledger=where, contract="", bind=listen or listens(where), chain_id=chain.id)
    voucher = secrets.token_bytes(32)
    address = address_of(voucher)
    moot = Moot.deploy(chain, keys.account, name=name, seats=seats, voucher=address, founder=fields_of(keys, member))
    home.write_config(msgspec.structs.replace(config, contract=moot.address))
    return home, Ticket(where, bytes.fromhex(moot.address[2:]), voucher, moot.chain_id)


def join(
    folder: Path,
    ticket: Ticket,
    *,
    member: str,
    ledger: str | None = None,
    listen: str | None = None,
    identity: Identity | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[Home, int]:
    """Join the ticket's moot; the home and the new member's index. ``ledger`` and ``listen`` as for ``found``;
    ``progress`` is told how many blocks of a hosted chain have come.

    Who is a member already, and only lost the folder, gets it back: nothing is sent to the ledger then. Raises
    ``LocalError`` when ``folder`` belongs to another moot, ``LedgerRefused`` when the voucher is used up.
    """
    where, contract = located(ledger or ticket.ledger), "0x" + ticket.contract.hex()
    home = _unbound(folder, contract)
    _check_listen(listen)
    keys = home.ensure_identity(identity)
    with _reached(home, keys, where, ticket, progress) as chain:
        if ticket.chain_id not in (None, chain.id):
            raise ChainError(f"{where} is chain {chain.id}, and the ticket is for chain {ticket.chain_id}")
        moot = Moot(chain, contract, keys.account)
        moot.check_code()
        known = moot.me()
        if known is None:
            moot.join(fields_of(keys, member), ticket.voucher)
            known = moot.me()
        if known is None:
            raise LocalError(f"the ledger {where} took the entry and does not show it; try again")
        if known.name != member:
            raise LocalError(
                f"this identity is member {known.number} already, by the name {known.name!r}; use --as {known.name}"
            )
        if not home.config_file.exists():
            bind = listen or listens(where)
            home.write_config(
                Config(name=member, ledger=where, contract=moot.address, bind=bind, chain_id=moot.chain_id)
            )
    return home, known.index


@contextmanager
def _reached(
    home: Home, keys: Identity, where: str, ticket: Ticket, progress: Callable[[int], None] | None
) -> Iterator[Chain]:
    """The chain, for one who is no member yet."""
    if not is_hosted(where):
        yield open_chain(where)
        return
    visitor = guest.Visitor(
        folder=home.path,
        keys=keys,
        contract="0x" + ticket.contract.hex(),
        founder=HostUrl.parse(where),
        voucher=ticket.voucher,
        progress=progress or guest.quietly,
    )
    # two endpoints of one key would get in each other's way
    with home.lock("visit"), visit.visiting(visitor) as copy:
        yield Chain(copy)


def vote(home: Home, ticket: Ticket | None = None) -> tuple[Ticket, bool]:
    """Vote for the newcomer who holds ``ticket``, or for a new one; the ticket, and whether it admits one now.

    It does once more of the members have voted for it than grave motions take.
    """
    contract = bytes.fromhex(home.config.contract[2:])
    given = ticket or Ticket(home.url(), contract, secrets.token_bytes(32), home.config.chain_id)
    if given.contract != contract:
        raise LocalError("this ticket is for another moot")
    moot = home.moot()
    voucher = address_of(given.voucher)
    word = int(voucher, 16)
    open_ = [m for m in governing.pending(moot) if m.kind is Kind.ADMIT and m.words[0] == word]
    if open_:
        governing.vote(moot, open_[-1].id)
    else:
        governing.move(moot, Kind.ADMIT, word)
    return given, moot.assembly.is_usable(voucher)


def chain_at(where: str, *, create: bool = False) -> Chain:
    """The chain at a ledger's URL or path; with ``create`` the file of an embedded one is made where it is not."""
    if create and "://" not in where and not Path(where).exists():
        create_chain(where, genesis_time=int(time.time()))
    return open_chain(where)


def fields_of(keys: Identity, name: str) -> JoinFields:
    """What a member with these keys tells of itself."""
    return JoinFields(name=name, endpoint=keys.endpoint, exchange=keys.exchange, binding=keys.binding(), addresses=())


def _unbound(folder: Path, contract: str | None = None) -> Home:
    """The home, if it belongs to no moot or, where given, to this one."""
    home = Home(folder)
    if home.config_file.exists() and (contract is None or home.config.contract.lower() != contract.lower()):
        raise LocalError(f"{folder} belongs to a moot already; choose another folder with --home")
    return home


def _check_listen(listen: str | None) -> None:
    if listen is not None:
        Listening.parse(listen)


def listens(ledger: str) -> str:
    """Where a peer listens that was not told: on this machine alone if its ledger is there too, else everywhere."""
    if is_hosted(ledger):
        near = HostUrl.parse(ledger).is_local
    else:
        hosts = [urlsplit(url).hostname or "" for url in ledger.split(",") if "://" in url]
        near = all(host == "localhost" or host == "::1" or host.startswith("127.") for host in hosts)
    return HERE if near else EVERYWHERE


def located(ledger: str) -> str:
    """The ledger's URL, or the absolute path of its file: a daemon's working directory is not the user's."""
    if "://" in ledger or is_hosted(ledger):
        return ledger
    return str(Path(ledger.removeprefix("sqlite:")).expanduser().absolute())
