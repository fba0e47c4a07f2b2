"""A moot that moves to another contract or another chain, by vote, and takes its history along.

Who moves for it founds the successor, with an *account* of the old moot: its members, the weights of their votes, the
last model and the open bounties of each task, as of a block. The account's hash stands in the successor as its
heritage, and in the motion to move. Everyone who votes makes the account anew from the ledger, and looks at the
successor, before a vote is cast.
"""

from __future__ import annotations

import secrets
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from folkmoot.digest import Hash
from folkmoot.errors import LocalError
from folkmoot.ledger import Chain, Moot, chronicle
from folkmoot.ledger.address import checksum_address
from folkmoot.ledger.assembly import elders_hash
from folkmoot.ledger.binding import check_binding
from folkmoot.ledger.chain import is_hosted
from folkmoot.ledger.hosting import HostUrl
from folkmoot.ledger.motions import Kind, Motion
from folkmoot.ledger.statements import address_of
from folkmoot.peer import governing, succession, weighing
from folkmoot.peer.durable import replace
from folkmoot.peer.founding import chain_at, fields_of, located
from folkmoot.peer.heritage import Account, account_in, account_of
from folkmoot.peer.home import Config, Home
from folkmoot.peer.leaving import check_bounties, kept_file

__all__ = [
    "account_moved_with",
    "check_successor",
    "follow",
    "host_folder",
    "move_of",
    "propose_move",
]


def propose_move(home: Home, ledger: str | None, *, listen: str | None = None, leave_bounties: bool = False) -> Motion:
    """Found the successor on ``ledger`` (a file or a URL, as in ``found``), and put the move to the vote.

    Without a ledger it stands on a chain that a second peer of this member hosts: its home is ``host_folder``, and it
    listens at ``listen``, or beside the first one. Only members of the old moot can join the successor until they all
    have, each by its own key. Raises ``LocalError`` for a chain that some peer hosts already, and where a bounty would
    stay behind, unless it is to (``leave_bounties``).
    """
    if ledger is not None and is_hosted(ledger):
        raise LocalError(
            f"{ledger} is a chain that some peer hosts already; with --hosted instead, a peer of yours hosts a new one "
            "for the successor"
        )
    moot = home.moot()
    me = moot.me()
    if me is None or me.main != home.identity.account.address:
        raise LocalError("moving the moot takes a member's main key")
    where, bind = succession.host_address(home, listen) if ledger is None else (located(ledger), home.config.bind)
    account = account_of(moot, moot.head(), where)
    if not leave_bounties:
        check_bounties(moot, account)
    state = home.store().put(account.blob, durable=True)
    successor = Moot.deploy(
        succession.found_chain(home, where, state) if ledger is None else chain_at(where, create=True),
        home.identity.account,
        name=moot.name(),
        seats=1,
        voucher=address_of(secrets.token_bytes(32)),
        founder=fields_of(home.identity, me.name),
        rules=moot.assembly.rules(),
        heritage=state,
        elders=[main for main in account.members if main != me.main],
    )
    if ledger is None:
        at, id = successor.address, successor.chain_id
        succession.settle_host(home, state, Config(name=me.name, ledger=where, contract=at, bind=bind, chain_id=id))
    words = (successor.chain_id, int(successor.address, 16), int.from_bytes(state, "big"))
    return governing.move(moot, Kind.RETIRE, *words)


def host_folder(home: Home, motion: Motion) -> Path:
    """The home of the peer that hosts the chain of the successor, if its mover is this member."""
    return succession.chain_folder(home, _heritage(motion))


def check_successor(
    home: Home, motion: Motion, ledger: str | None = None, *, gone: bool = False, leave_bounties: bool = False
) -> Account:
    """The account that a motion to move names, after everything about it has been checked.

    ``ledger`` is where the successor's ledger is for you, if not where its founder says: a node of your own. Once the
    moot has ``gone``, what its members have decided there since is theirs, and only what cannot change is checked.
    Raises ``LocalError`` naming what is wrong: an account that is not this moot's, a contract that is not of this
    version, a successor with other rules, another heritage, or that lets in others than this moot's members; and a
    bounty that would stay behind, unless it is to (``leave_bounties``).
    """
    account = _account(home, _heritage(motion))
    moot = home.moot()
    at = _moved_at(moot, motion)
    if not at - _SETTLED <= account.block <= at or account.members != account_of(moot, at, account.ledger).members:
        raise LocalError(f"motion {motion.id}: its account of the moot is not of when the move was proposed")
    if account != account_of(moot, account.block, account.ledger):
        raise LocalError(
            f"motion {motion.id}: its account of the moot is not what the ledger says up to {account.block}"
        )
    if not gone and not leave_bounties:
        check_bounties(moot, account_of(moot, moot.head(), account.ledger))  # more may have been set aside since
    with _reached(home, motion, account, ledger) as chain:
        _check_there(motion, account, moot, Moot(chain, _contract(motion)), gone=gone)
    return account


def _check_there(motion: Motion, account: Account, moot: Moot, successor: Moot, *, gone: bool) -> None:
    """The part of ``check_successor`` that is about the successor's contracts."""
    successor.check_code()
    about, assembly = successor.about(), successor.assembly
    if about.heritage != _heritage(motion) or about.name != moot.name():
        raise LocalError(f"motion {motion.id}: the successor says that it continues another moot")
    if not gone and assembly.rules() != moot.assembly.rules():
        raise LocalError(f"motion {motion.id}: the successor passes motions by other rules")
    members = successor.members()
    invited = ([main for main in account.members if main != founder] for founder in account.members)
    if about.elders not in map(elders_hash, invited):
        raise LocalError(f"motion {motion.id}: the successor lets in others than the members of this moot")
    if not gone and assembly.motions():
        raise LocalError(f"motion {motion.id}: the successor has decided something before its members were there")
    inside = {m.main for m in members}
    outside = [who for who in account.members if who not in inside and not assembly.is_usable(who)]
    strangers = inside - account.members.keys()
    if (not gone and (outside or strangers)) or about.seats > 1:
        names = [account.members[who] for who in outside] or sorted(strangers) or ["whoever holds its ticket"]
        wrong = "does not let in" if outside else "has"
        raise LocalError(f"motion {motion.id}: the successor {wrong} {', '.join(names)}")
    if is_hosted(account.ledger) and not gone:
        host = HostUrl.parse(account.ledger).endpoint
        if not any(m.endpoint == host and check_binding(m) for m in members):
            raise LocalError(f"motion {motion.id}: the host of the successor's chain is none of its members")


def account_moved_with(home: Home, motion: Motion) -> Account:
    """The account that a motion to move names. Raises ``LocalError`` where it is not in this home's store yet."""
    return _account(home, _heritage(motion))


def move_of(moot: Moot) -> Motion:
    """The motion by which the moot has moved. Raises ``LocalError`` where it has not."""
    moves = [m for m in moot.assembly.motions() if m.kind is Kind.RETIRE and m.done]
    if not moves:
        raise LocalError("the moot has not moved; see folkmoot motions")
    return moves[-1]


def follow(home: Home, ledger: str | None = None) -> Config:
    """Join the moot that this one has moved to, and make ``home`` a peer of that one; its new configuration.

    What it knew of the old one is kept beside: configuration, journal and the places of datasets, under the old
    chain and contract. Datasets are described anew there, by the same cards, and the votes are moved, or voted, to
    weigh what the account says. Asking again goes on where it stopped.
    """
    moot = home.moot()
    move = move_of(moot)
    account = check_successor(home, move, ledger, gone=True)
    me = moot.me()
    if me is None or me.main != home.identity.account.address:
        raise LocalError("following the moot takes the member's main key; delegate again afterwards")
    with home.lock(), _reached(home, move, account, ledger) as chain:
        successor = Moot(chain, _contract(move), home.identity.account)
        there = successor.me()
        if there is None:
            successor.join(fields_of(home.identity, me.name), bytes(home.identity.account.key))
        elif there.main != me.main:
            raise LocalError(f"your account is {there.name}'s in the successor; ask its members to rekey that one")
        weighing.carry(successor, account, me.main)
        _move_files(home, moot, successor)
    config = _config_there(home, move, account, ledger)
    home.write_config(config)
    return config


def _config_there(home: Home, move: Motion, account: Account, ledger: str | None) -> Config:
    """How this peer reaches the successor."""
    config = msgspec.structs.replace(home.config, contract=_contract(move), chain_id=move.words[0], chain_folder="")
    if is_hosted(account.ledger):
        return succession.settled(home, config, account.ledger, _heritage(move))
    return msgspec.structs.replace(config, ledger=located(ledger or account.ledger))


def _reached(home: Home, motion: Motion, account: Account, ledger: str | None) -> AbstractContextManager[Chain]:
    heritage = _heritage(motion)
    return succession.reached(home, account.ledger, _contract(motion), motion.words[0], heritage, ledger)


def _contract(move: Motion) -> str:
    """The address of the successor's contract."""
    return checksum_address(move.words[1].to_bytes(20, "big"))


def _heritage(move: Motion) -> Hash:
    """The hash of the account of the moot, which the successor has as its heritage."""
    return move.words[2].to_bytes(32, "big")


_SETTLED = 1_000
"""Blocks between the account of a moot and the motion to move it, at most: its successor is founded meanwhile."""


def _moved_at(moot: Moot, motion: Motion) -> int:
    """The block in which a motion was moved."""
    return next(e.block for e in chronicle.entries(moot) if e.kind == "Moved" and e.motion == motion.id)


def _move_files(home: Home, old: Moot, new: Moot) -> None:
    kept = kept_file(home.data_file, old.chain_id, old.address)
    known = msgspec.json.decode(kept.read_bytes(), type=dict[int, str]) if kept.exists() else home.data()
    mine = {d.id: d for d in old.datasets() if d.id in known}
    there = {d.card: d.id for d in new.datasets()}
    places: dict[int, str] = {}
    for id, path in known.items():
        if id in mine:
            d = mine[id]
            card = there.get(d.card) or new.describe(d.card, d.records, schema=d.schema, conditions=d.conditions)
            places[card] = path
    for file in (home.config_file, home.data_file):
        beside = kept_file(file, old.chain_id, old.address)
        if file.exists() and not beside.exists():
            replace(beside, file.read_bytes(), mode=0o600)
    kept_journal = kept_file(home.journal, old.chain_id, old.address)
    for suffix in ("", "-wal", "-shm"):
        journal = home.journal.with_name(home.journal.name + suffix)
        if journal.exists():
            journal.rename(kept_journal.with_name(kept_journal.name + suffix))
    home.journal_mark.unlink(missing_ok=True)  # it was not lost
    replace(home.data_file, msgspec.json.encode(places) + b"\n", mode=0o600)


def _account(home: Home, name: Hash) -> Account:
    store = home.store()
    if not store.has(name):
        raise LocalError(
            f"the account of the moot, blob {name.hex()[:12]}, is not here yet; a running peer fetches it: folkmoot run"
        )
    return account_in(store.get(name), name)
