"""Verbs about what members decide together: put something to the vote, vote, have it done."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

import typer

from folkmoot.cli.show import DEFAULT_HOME, HomeOption, JsonOption, ListenOption, show_json, show_table

if TYPE_CHECKING:
    from folkmoot.ledger import Moot
    from folkmoot.ledger.motions import Kind, Motion
    from folkmoot.peer.home import Home

__all__ = ["enact", "follow", "motions", "mover", "vote"]

mover = typer.Typer(help="Put something to the vote; your own vote is for it.", no_args_is_help=True)

_ELSEWHERE = (
    "Where the ledger of a moot's successor is for you: a node of your own, rather than its founder's, or where the "
    "host of a hosted chain is by now."
)
LeaveOption = Annotated[
    bool,
    typer.Option("--leave-bounties", help="Move though bounties are not paid out, or taken back: they stay behind."),
]
TaskWord = Annotated[int, typer.Argument(help="Id of the task; see folkmoot tasks.", min=1)]
MemberWord = Annotated[str, typer.Argument(help="Name or number of the member; see folkmoot members.")]
MotionWord = Annotated[int, typer.Argument(help="Id of the motion; see folkmoot motions.", min=1)]
Because = Annotated[str, typer.Option("--because", help="Your reasons; only their hash goes on the ledger.")]


def motions(
    all_: Annotated[bool, typer.Option("--all", help="Those enacted and lapsed too.")] = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """List what is put to the vote, and how the votes stand."""
    from folkmoot.ledger.documents import motion_document, names_of
    from folkmoot.ledger.motions import sentence
    from folkmoot.peer import governing
    from folkmoot.peer.home import Home

    peer = Home.open(home)
    moot = peer.moot()
    names = {m.index: m.name for m in moot.members()}
    rules, now = moot.assembly.rules(), moot.now()
    rows = [(m, m.state(now)) for m in (moot.assembly.motions() if all_ else governing.pending(moot))]
    if json:
        told = [{**motion_document(m, names, rules, now), "reasons": _reasons(peer, m)} for m, _ in rows]
        show_json({"rules": rules, "motions": told})
        return
    show_table(
        ("motion", "asks to", "moved by", "for", "against", "needs over", "until", "state", "because"),
        (
            (
                m.id,
                sentence(m, names),
                names[m.mover],
                ", ".join(names_of(m.ayes, names)),
                ", ".join(names_of(m.noes, names)),
                f"{rules.grave if m.kind.grave else rules.ordinary}%",
                time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(m.deadline)),
                state,
                _reasons(peer, m),
            )
            for m, state in rows
        ),
    )


def vote(
    motion: MotionWord,
    against: Annotated[bool, typer.Option("--against", "--no", help="Vote against it.")] = False,
    leave_bounties: LeaveOption = False,
    ledger: Annotated[str | None, typer.Option(help=_ELSEWHERE)] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Vote on a motion, once and for good; with the vote that makes it pass, it is done at once.

    A vote to move the moot is cast only after its successor, and the account of this moot there, were found right. The
    host of a hosted one lets you in by your main key, so no ticket is needed; it must run. In a moot that continues
    another one, nothing is voted for before votes weigh what they did there.
    """
    from folkmoot.ledger.motions import Kind
    from folkmoot.peer import governing
    from folkmoot.peer.home import Home

    peer = Home.open(home)
    moot = peer.moot()
    found = moot.assembly.motion(motion)
    if not against and found.kind is not Kind.WEIGH:
        from folkmoot.peer.weighing import account_here, check_carried

        check_carried(moot, account_here(peer.store(), moot.about().heritage))
    if not against and found.kind is Kind.RETIRE:
        from folkmoot.peer.migration import check_successor

        check_successor(peer, found, ledger, leave_bounties=leave_bounties)
    _tell(moot, governing.vote(moot, motion, not against), json)


def follow(
    ledger: Annotated[str | None, typer.Option(help=_ELSEWHERE)] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Go along to where the moot has moved: join there with your main key, and describe your datasets there.

    Votes for the weights that votes had before, and says what stays to be had from the old moot's purse. Stop your peer
    first, and start it again afterwards.
    """
    from folkmoot.peer.home import Home
    from folkmoot.peer.leaving import left_behind
    from folkmoot.peer.migration import account_moved_with, move_of
    from folkmoot.peer.migration import follow as go_along

    peer = Home.open(home)
    old = peer.moot()
    account = account_moved_with(peer, move_of(old))
    config = go_along(peer, ledger)
    behind = left_behind(old, account)
    if json:
        show_json({"ledger": config.ledger, "contract": config.contract, "left_behind": behind})
        return
    print(*behind, sep="\n", end="\n" if behind else "")
    print(f"{home} belongs to {config.contract} on {config.ledger} now; start its peer again: folkmoot run")


def enact(motion: MotionWord, home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Have done what a motion says that has passed. Running peers do it by themselves after a while."""
    from folkmoot.errors import LedgerRefused
    from folkmoot.peer import governing
    from folkmoot.peer.home import Home

    moot = Home.open(home).moot()
    found = governing.enact(moot, motion)
    if not found.done:
        raise LedgerRefused(f"motion {motion} has not passed: see folkmoot motions")
    _tell(moot, found, json)


def withdraw(task: TaskWord, home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Take back a task that you proposed, while nobody has decided on it. Eight may be proposed at a time."""
    from folkmoot.peer.home import Home

    Home.open(home).moot().withdraw(task)
    if json:
        show_json({"task": task, "withdrawn": True})
        return
    print(f"task {task} is taken back")


@mover.command("adopt")
def adopt(task: TaskWord, because: Because = "", home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """That a task is the moot's: it starts once enough members grant. Proposing a task moves this by itself."""
    from folkmoot.ledger.records import Standing

    _steer(task, Standing.ADOPTED, because, home, json)


@mover.command("pause")
def pause(task: TaskWord, because: Because = "", home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """That nobody commits to a task until it is resumed; a round that has its commits goes on."""
    from folkmoot.ledger.records import Standing

    _steer(task, Standing.PAUSED, because, home, json)


@mover.command("resume")
def resume(task: TaskWord, because: Because = "", home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """That a paused task goes on."""
    from folkmoot.ledger.records import Standing

    _steer(task, Standing.ADOPTED, because, home, json)


@mover.command("stop")
def stop(task: TaskWord, because: Because = "", home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """That a task ends with its last final round, for good."""
    from folkmoot.ledger.records import Standing

    _steer(task, Standing.STOPPED, because, home, json)


@mover.command("remove")
def remove(
    member: MemberWord, because: Because = "", home: HomeOption = DEFAULT_HOME, json: JsonOption = False
) -> None:
    """That a member leaves the moot: it is out from the next round on. Needs the larger majority."""
    from folkmoot.ledger.motions import Kind

    _move(home, Kind.REMOVE, (member,), because, json)


@mover.command("rekey")
def rekey(
    member: MemberWord,
    account: Annotated[str, typer.Argument(help="Its new main account; folkmoot id shows it.")],
    because: Because = "",
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """That a member which lost its keys gets another main account. Needs the larger majority."""
    from folkmoot.errors import LocalError
    from folkmoot.ledger.address import checksum_address
    from folkmoot.ledger.motions import Kind

    try:
        address = int(checksum_address(account), 16)
    except ValueError as error:
        raise LocalError(str(error)) from None
    _move(home, Kind.REKEY, (member, address), because, json)


@mover.command("limits")
def limits(
    min_members: Annotated[int, typer.Option(help="Fewest members of each round of a task.", min=0, max=256)] = 0,
    secret: Annotated[bool, typer.Option("--secret", help="Tasks must keep contributions secret.")] = False,
    because: Because = "",
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """What every task proposed from then on must at least promise."""
    from folkmoot.ledger.motions import Kind

    _move(home, Kind.BOUND, (min_members, int(secret)), because, json)


@mover.command("weigh")
def weigh(
    member: MemberWord,
    weight: Annotated[int, typer.Argument(help="The weight of its vote; 1 at first.", min=0, max=1_000_000)],
    because: Because = "",
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """That a member's vote weighs more or less than one. Needs the larger majority."""
    from folkmoot.ledger.motions import Kind

    _move(home, Kind.WEIGH, (member, weight), because, json)


@mover.command("rules")
def rules(
    ordinary: Annotated[int | None, typer.Option(help="Percent that ordinary motions must exceed.")] = None,
    grave: Annotated[int | None, typer.Option(help="Percent that grave ones must exceed.")] = None,
    window: Annotated[int | None, typer.Option(help="Seconds in which votes count.")] = None,
    because: Because = "",
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """How motions pass from then on; what is not given stays. Needs the larger majority as it is now."""
    from folkmoot.errors import LocalError
    from folkmoot.ledger.motions import Kind, Rules
    from folkmoot.peer.home import Home

    old = Home.open(home).moot().assembly.rules()
    new = Rules(ordinary or old.ordinary, grave or old.grave, window or old.window)
    if not (50 <= new.ordinary <= new.grave < 100 and 10 <= new.window <= 90 * 86_400):
        raise LocalError("percents go from 50 to 99, the grave one no smaller; the window from 10 s to 90 days")
    _move(home, Kind.RULES, new.words, because, json)


@mover.command("endow")
def endow(
    task: TaskWord,
    points: Annotated[int, typer.Argument(help="How many points are made for its bounty.", min=1)],
    because: Because = "",
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """That points of the moot's own are made as a task's bounty; see folkmoot rewards."""
    from folkmoot.ledger.motions import Kind

    _move(home, Kind.ENDOW, (task, points), because, json)


@mover.command("migrate")
def migrate(
    ledger: Annotated[
        str | None,
        typer.Argument(help="File of an embedded chain, or a node's URL, for the successor.", show_default=False),
    ] = None,
    hosted: Annotated[bool, typer.Option("--hosted", help="A second peer of yours hosts its chain.")] = False,
    listen: ListenOption = None,
    leave_bounties: LeaveOption = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """That the moot moves to a new contract, which you found for it, with its members and the account of its models.

    Needs the larger majority. Once it is done, each member runs: folkmoot follow. With --hosted, --listen says where
    your second peer listens: the others reach it there to look before they vote, and to follow. Tasks with a bounty are
    stopped and settled first, for no purse moves: see docs/governance.md.
    """
    from folkmoot.peer.home import Home
    from folkmoot.peer.migration import host_folder, propose_move

    if hosted == (ledger is not None):
        raise typer.BadParameter("name a ledger, or give --hosted")
    if listen is not None and not hosted:
        raise typer.BadParameter("--listen goes with --hosted: where the host of the successor's chain listens")
    peer = Home.open(home)
    motion = propose_move(peer, ledger, listen=listen, leave_bounties=leave_bounties)
    folder = host_folder(peer, motion)
    _tell(peer.moot(), motion, json, {"host_home": str(folder)} if hosted else {})
    if hosted and not json:
        print(f"Before they can vote, and until all have followed: folkmoot run --home {folder}")


def _steer(task: int, standing: int, because: str, home: Path, json: bool) -> None:
    from folkmoot.ledger.motions import Kind

    _move(home, Kind.STEER, (task, int(standing)), because, json)


def _move(home: Path, kind: Kind, words: tuple[str | int, ...], because: str, json: bool) -> None:
    from folkmoot.ledger.motions import Kind
    from folkmoot.peer import governing
    from folkmoot.peer.home import Home

    peer = Home.open(home)
    moot = peer.moot()
    if kind in (Kind.STEER, Kind.ENDOW):
        moot.task(int(words[0]))  # says so when there is none
    numbers = [word if isinstance(word, int) else _member(moot, word) for word in words]
    reasons = peer.store().put(because.encode(), durable=True) if because else bytes(32)
    _tell(moot, governing.move(moot, kind, *numbers, reasons=reasons), json)


def _member(moot: Moot, word: str) -> int:
    from folkmoot.ledger.records import member_named

    return member_named([m for m in moot.members() if m.living], word).index


def _reasons(peer: Home, motion: Motion) -> str:
    if not any(motion.text):
        return ""
    store = peer.store()
    if not store.has(motion.text):
        return f"(reasons {motion.text.hex()[:12]} are not here yet)"
    return store.get(motion.text)[:2_000].decode(errors="replace")


def _tell(moot: Moot, motion: Motion, json: bool, more: Mapping[str, str] = MappingProxyType({})) -> None:
    from folkmoot.ledger.documents import motion_document
    from folkmoot.ledger.motions import sentence

    names = {m.index: m.name for m in moot.members()}
    rules, now = moot.assembly.rules(), moot.now()
    if json:
        show_json({**motion_document(motion, names, rules, now), **more})
        return
    state = motion.state(now)
    print(f"motion {motion.id}, to {sentence(motion, names)}: {state}")
    if state == "open":
        needed = rules.grave if motion.kind.grave else rules.ordinary
        print(f"{motion.ayes.bit_count()} of {moot.member_count()} are for it; it passes with more than {needed}%")
        print(f"The others run: folkmoot vote {motion.id}")
