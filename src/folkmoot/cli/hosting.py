"""Verbs about a hosted chain: who hosts it, what it was caught at, and this member's vote for another."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from folkmoot.cli.show import DEFAULT_HOME, HomeOption, JsonOption, show_json

if TYPE_CHECKING:
    from folkmoot.ledger import Moot
    from folkmoot.ledger.hosted import HostedReplica
    from folkmoot.peer.home import Home

__all__ = ["app"]

app = typer.Typer(help="See and change who hosts the chain, where a member does.", no_args_is_help=True)

_PATIENCE = 10.0
"""Seconds until a vote that could have made a new host is left to the running peer."""


@app.command("show")
def show(home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Show who hosts the chain, since when, and whom members want instead."""
    from folkmoot.peer.home import Home

    copy, moot = _opened(Home.open(home))
    shown = _facts(copy, moot)
    if json:
        show_json(shown)
        return
    print(f"host    {shown.host}, term {shown.term}, from block {shown.first_block} on")
    print(f"url     {shown.url}")
    print(f"chain   {shown.blocks} blocks here, the newest is {shown.newest.hex()}")
    for wanted, by in shown.wanted.items():
        print(f"wanted  {wanted} by {', '.join(by)}; {shown.missing(wanted)}")
    if shown.trouble:
        print(f"caught  {shown.trouble}")
    if shown.held:
        print("moving  more than half of the members want another host; no blocks are taken from this one")


@app.command("move")
def move(
    member: Annotated[str, typer.Argument(help="Name or number of the member that is to host; it must want to.")],
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Vote for another host; naming the present one takes your vote back.

    It needs no ledger: once more than half of the members want the same one, itself included, their
    running peers sign for it and go on with the blocks they all have.
    """
    from folkmoot.ledger.records import member_named
    from folkmoot.peer.home import Home

    copy, moot = _opened(Home.open(home))
    wanted = member_named([m for m in moot.members() if m.living], member)
    before, stays = copy.book.term, wanted.endpoint == copy.book.host
    copy.book.change(wish=b"" if stays else wanted.endpoint)
    shown = _facts(copy, moot)
    if not stays and shown.lacking(wanted.name) == 0:
        deadline = time.monotonic() + _PATIENCE
        while copy.book.term == before and time.monotonic() < deadline:
            time.sleep(0.05)
            copy.head()
        shown = _facts(copy, moot)
    moved = copy.book.term > before
    if json:
        lacking = 0 if stays or moved else shown.lacking(wanted.name)
        show_json({**dataclasses.asdict(shown), "missing": lacking})
    elif moved:
        print(f"{shown.host} hosts the chain now, from block {shown.first_block} on")
    elif stays:
        print(f"your vote is for {wanted.name}, who hosts the chain")
    else:
        print(f"your vote is for {wanted.name}; {shown.missing(wanted.name)}")
        print("It counts while your peer runs: folkmoot run")


@dataclass(frozen=True)
class _Facts:
    """What there is to say."""

    host: str
    term: int
    first_block: int
    """The first block that this host ordered."""
    url: str
    blocks: int
    newest: bytes
    wanted: dict[str, list[str]]
    """Members that are wanted as host, each with those that want it."""
    needed: int
    held: bool
    trouble: str | None

    def lacking(self, wanted: str) -> int:
        """How many votes are missing to make this member the host; without its own it is not made that."""
        backers = self.wanted.get(wanted, [])
        return max(self.needed - len(backers), int(wanted not in backers))

    def missing(self, wanted: str) -> str:
        """The same, in words."""
        lacking = self.lacking(wanted)
        if not lacking:
            return "no vote is missing"
        own = "" if wanted in self.wanted.get(wanted, []) else f", that of {wanted} among them"
        return f"{lacking} more of {self.needed} votes are missing{own}"


def _opened(home: Home) -> tuple[HostedReplica, Moot]:
    from folkmoot.errors import LocalError
    from folkmoot.ledger.hosted import HostedReplica

    chain = home.chain()
    if not isinstance(chain.replica, HostedReplica):
        raise LocalError(f"nobody hosts this moot's chain: it is {home.config.ledger}")
    return chain.replica, home.moot(chain)


def _facts(copy: HostedReplica, moot: Moot) -> _Facts:
    from folkmoot.ledger.hosting import HostUrl

    copy.head()
    book, members = copy.book, moot.members()
    names = {member.endpoint: member.name for member in members}
    wanted: dict[str, list[str]] = {}
    for member in members:
        own = member.endpoint == copy.me
        wish = book.state.wish if own else book.state.wishes.get(member.index, b"")
        if wish and member.living:
            wanted.setdefault(names.get(wish, wish.hex()[:10]), []).append(member.name)
    return _Facts(
        host=names.get(book.host, book.host.hex()[:10]),
        term=book.term,
        first_block=book.floor + 1,
        url=str(HostUrl(book.host, next((m.addresses for m in members if m.endpoint == book.host), ()))),
        blocks=copy.number,
        newest=copy.newest.hash,
        wanted=wanted,
        needed=sum(member.living for member in members) // 2 + 1,
        held=book.state.held,
        trouble=None if book.state.trouble is None else book.state.trouble.words,
    )
