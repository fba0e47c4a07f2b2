"""Verbs about members: found a moot, join one, invite others; and the keys that make a member."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from folkmoot.cli.show import DEFAULT_HOME, HomeOption, JsonOption, ListenOption, short, show_json, show_table

if TYPE_CHECKING:
    from folkmoot.ledger import Moot
    from folkmoot.ledger.records import Member
    from folkmoot.peer.ticket import Ticket

__all__ = ["backup", "delegate", "id_", "invite", "join", "members", "new", "restore", "sponsor"]

_FIRST_STEPS = (
    ("folkmoot run", "start your peer, in a terminal of its own: it stays there"),
    ("folkmoot data add PATH", "describe your data; they stay where they are"),
    ("folkmoot tasks", "see what there is to train"),
    ("folkmoot review TASK", "read the code that would run on your data, before you grant it"),
)
"""What a newcomer does after joining. Any other order works too."""

NameOption = Annotated[str, typer.Option("--as", metavar="NAME", help="Your name in the moot, unique there.")]


def new(
    name: Annotated[str, typer.Argument(help="What the moot is called.")],
    as_: NameOption,
    seats: Annotated[int, typer.Option(help="Members the ticket admits, you included.", min=1, max=256)] = 5,
    ledger: Annotated[
        str | None,
        typer.Option(help="File of the embedded chain, or a node's URL.", show_default="HOME/ledger.sqlite"),
    ] = None,
    hosted: Annotated[bool, typer.Option("--hosted", help="Your running peer hosts the chain for the others.")] = False,
    listen: ListenOption = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Found a moot and print the ticket that admits its other members.

    You become its first member and keep no other privilege: past the seats, two thirds of the
    members must vote for a newcomer (folkmoot invite).
    """
    from folkmoot.peer.founding import found
    from folkmoot.peer.ticket import format_ticket

    if hosted and ledger is not None:
        raise typer.BadParameter("a hosted chain lies in your home; leave --ledger out")
    peer, ticket = found(home, name=name, seats=seats, member=as_, ledger=ledger, hosted=hosted, listen=listen)
    text = format_ticket(ticket)
    if json:
        show_json(
            {
                "contract": peer.config.contract,
                "ledger": peer.config.ledger,
                "listen": peer.config.bind,
                "ticket": text,
            }
        )
        return
    print(f"founded {name!r}: contract {peer.config.contract} on {peer.config.ledger}")
    print("Give this ticket to the others, in private; whoever holds it can take a seat:\n")
    print(text)
    print(f"\n{_listening(peer.config.bind)}")
    if hosted:
        print("It must run before they can join: folkmoot run")
    print("\nThey run: folkmoot join TICKET --as NAME")


def join(
    ticket: Annotated[str, typer.Argument(help="The ticket, moot1...; or - to read it from standard input.")],
    as_: NameOption,
    ledger: Annotated[
        str | None, typer.Option(help="Where the ledger is for you, if not where the ticket says.")
    ] = None,
    listen: ListenOption = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Join a moot with a ticket."""
    from folkmoot.ledger.records import number_of
    from folkmoot.peer.founding import join as join_moot

    def progress(blocks: int) -> None:
        print(f"\r{blocks:,} blocks of the chain are here", end="", file=sys.stderr, flush=True)

    told = progress if sys.stderr.isatty() else None
    peer, index = join_moot(home, _ticket(ticket), member=as_, ledger=ledger, listen=listen, progress=told)
    if told is not None:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    if json:
        config, who = peer.config, {"member": number_of(index), "name": as_}
        show_json({"contract": config.contract, "ledger": config.ledger, "listen": config.bind, **who})
        return
    moot = peer.moot()
    print(f"joined {moot.name()!r} as {as_!r}, its member {number_of(index)}")
    if awaited := moot.assembly.awaited():
        print(f"It continues another moot: {awaited} members of that can still come in by their own keys")
    print(_listening(peer.config.bind))
    print("Next, in this order:")
    for command, what in _FIRST_STEPS:
        print(f"  {command:<24}{what}")


def invite(
    ticket: Annotated[
        str | None, typer.Argument(help="A ticket another member made; without one, a new ticket is made.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Vote for a newcomer beyond the founding seats; without a ticket, make one and cast the first vote.

    The ticket admits one member once the larger majority has voted for it: two thirds, unless the moot changed that.
    """
    from folkmoot.peer.founding import vote
    from folkmoot.peer.home import Home
    from folkmoot.peer.ticket import format_ticket

    peer = Home.open(home)
    given, admits = vote(peer, None if ticket is None else _ticket(ticket))
    text = format_ticket(given)
    if json:
        show_json({"ticket": text, "admits": admits})
        return
    needed = peer.moot().assembly.rules().grave
    print("your vote is cast; the ticket admits one member", end=" ")
    print("now:\n" if admits else f"once more than {needed}% of the members have run folkmoot invite TICKET:\n")
    print(text)


def members(home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """List the members of the moot."""
    from folkmoot.ledger.binding import check_binding
    from folkmoot.peer.home import Home

    moot = Home.open(home).moot()
    known = moot.members()
    if json:
        show_json([_document(moot, member) for member in known])
        return
    show_table(
        ("member", "name", "account", "endpoint", "announced at", "keys", "vote"),
        (
            (
                m.number,
                m.name,
                m.address,
                short(m.endpoint),
                ", ".join(m.addresses),
                _keys(m, check_binding(m)),
                moot.assembly.weight_of(m.index) if m.living else "removed",
            )
            for m in known
        ),
    )


def id_(home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Show your public keys."""
    from folkmoot.peer.home import Home

    identity = Home(home).identity
    keys = {
        "account": identity.account.address,
        "endpoint": identity.endpoint.hex(),
        "exchange": identity.exchange.hex(),
    }
    if json:
        show_json(keys)
    else:
        for what, key in keys.items():
            print(f"{what:<9} {key}")


def delegate(
    folder: Annotated[
        Path | None, typer.Argument(help="Home of the daily keys; made if it is not there.", file_okay=False)
    ] = None,
    back: Annotated[
        bool, typer.Option("--back", help="Use the main keys again; the daily ones are worthless.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Put other keys than your main ones into daily use, and run your peer with those.

    They train, sign and aggregate, and can revoke; only the main key in --home grants, votes and delegates. So the main
    key can stay on a machine that is off, and keys that were stolen from the peer's machine are replaced in a minute.
    Do it between two rounds: the one under way may have to be made again.
    """
    from folkmoot.errors import LocalError
    from folkmoot.peer import delegation
    from folkmoot.peer.home import Home

    if back == (folder is not None):
        raise LocalError("name the folder of the daily keys, or give --back")
    if folder is None:
        delegation.take_back(Home.open(home))
        print(f"the keys in {home} are in daily use again")
        return
    daily = delegation.delegate(Home.open(home), folder.resolve())
    print(
        f"{daily.identity.account.address} is in daily use; run the peer from there: folkmoot run --home {daily.path}"
    )
    print(f"Keep {home} safe: it grants and votes, and takes the daily keys back")


def sponsor(
    account: Annotated[str, typer.Argument(help="Who gets them; join tells a newcomer without coins its account.")],
    coins: Annotated[str, typer.Argument(help="How many of the chain's coins, like 0.05.")],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Give coins of your account's to a newcomer, for its first transactions, on a chain that charges for them.

    A member that trains needs few: commits of all travel in one transaction, and any member posts what all have signed.
    """
    from decimal import Decimal, InvalidOperation

    from folkmoot.errors import LocalError
    from folkmoot.ledger.address import checksum_address
    from folkmoot.peer.home import Home

    try:
        amount, receiver = int(Decimal(coins) * 10**18), checksum_address(account)
    except (InvalidOperation, OverflowError, ValueError):
        raise LocalError(f"{coins!r} coins for {account!r}: give an address, and a number like 0.05") from None
    if not 0 < amount < 2**128:
        raise LocalError(f"{coins} coins cannot be given: name a positive number")
    Home.open(home).moot().sponsor(receiver, amount)
    print(f"{receiver} has {coins} coins more")


def backup(
    file: Annotated[
        Path | None, typer.Option(help="Write keys, cards of datasets and settings to this new file.", dir_okay=False)
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Print the 24 words that restore your keys, or write a file that restores your datasets' cards too.

    Whoever has the words, or the file, is you: keep them away from this machine, and make the file anew when you have
    described a dataset. It holds no data, and where the data lies it tells nobody else.
    """
    from folkmoot.peer.backup import save_backup
    from folkmoot.peer.home import Home

    peer = Home(home)
    if file is not None:
        save_backup(peer, file)
        print(f"saved to {file}: keys and {len(peer.data())} datasets; restore with: folkmoot restore --file {file}")
    elif json:
        show_json({"words": peer.identity.words()})
    else:
        _show_words(peer.identity.words())


def restore(
    file: Annotated[
        Path | None, typer.Option(help="A file that backup wrote; without it, 24 words are asked for.", dir_okay=False)
    ] = None,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Restore your keys from the 24 words of a backup; from a file, what you know of your datasets too."""
    from folkmoot.peer.backup import read_backup
    from folkmoot.peer.backup import restore as put_back
    from folkmoot.peer.identity import Identity

    if file is not None:
        identity, found = read_backup(file)
    else:
        typer.echo("Enter the 24 words, separated by spaces or line breaks:", err=True)
        identity, found = Identity.from_words(_read_words()), None
    peer = put_back(home, identity, found)
    print(f"restored {identity.account.address} to {home}")
    if found is None:
        print(
            "These are keys alone: which data your datasets were, only a backup file tells. Without one, describe them"
            " anew: folkmoot data add"
        )
    for dataset, place in peer.data().items():
        if not Path(place).exists():
            print(f"dataset {dataset} is not at {place} any more: folkmoot data relink {dataset} PATH")


def _document(moot: Moot, member: Member) -> dict[str, object]:
    from folkmoot.ledger.binding import check_binding

    return {
        "member": member.number,
        "name": member.name,
        "living": member.living,
        "vote_weight": moot.assembly.weight_of(member.index) if member.living else 0,
        "account": member.address,
        "main_account": member.main,
        "endpoint": member.endpoint,
        "exchange": member.exchange,
        "bound": check_binding(member),
        "addresses": member.addresses,
    }


def _keys(member: Member, bound: bool) -> str:
    return ("bound" if bound else "NOT BOUND") + ("" if member.main == member.address else ", delegated")


def _listening(bind: str) -> str:
    """Where the peer will listen, for whoever has a firewall to open."""
    where, _, port = bind.removesuffix("+").rpartition(":")
    number = "a UDP port that changes at each start" if port == "0" else f"UDP port {port}"
    number += ", or the next free one," if bind.endswith("+") else ""
    if where.startswith("127.") or where == "[::1]":
        return f"Your peer listens on {number} of {where}: only this machine reaches it (--listen IP:PORT for others)"
    whose = "all addresses of this machine" if where in ("0.0.0.0", "[::]") else where
    return f"Your peer listens on {number} of {whose}: let that through your firewall"


def _ticket(text: str) -> Ticket:
    from folkmoot.peer.ticket import PREFIX, parse_ticket

    if text != "-":
        return parse_ticket(text)
    lines = [line.strip() for line in typer.get_text_stream("stdin")]
    # What `folkmoot new` printed may be passed on whole.
    return parse_ticket(next((line for line in lines if line.startswith(PREFIX)), "".join(lines)))


def _show_words(words: str) -> None:
    listed = words.split()
    for row in range(6):
        print("".join(f"{n + 1:>4}. {listed[n]:<10}" for n in range(row * 4, row * 4 + 4)).rstrip())


def _read_words() -> list[str]:
    """Words from standard input, until there are 24 or it ends; numbers like ``3.`` may stand before them."""
    words: list[str] = []
    for line in typer.get_text_stream("stdin"):
        words += [word for word in line.split() if not word.rstrip(".").isdigit()]
        if len(words) >= 24:
            break
    return words
