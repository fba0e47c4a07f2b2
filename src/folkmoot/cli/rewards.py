"""Verbs about bounties: what is set aside for a task, what members were worth to it, who is paid what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from folkmoot.cli.show import DEFAULT_HOME, HomeOption, JsonOption, show_json, show_table

if TYPE_CHECKING:
    from folkmoot.ledger import Moot
    from folkmoot.ledger.purse import Pot
    from folkmoot.ledger.records import Member
    from folkmoot.peer.home import Home

__all__ = ["app"]


class _TaskFirst(TyperGroup):
    """A group of verbs in which a number in the place of a verb, or none, is a task to be shown."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The words, with the verb that is meant in front."""
        asks = not args or args[0].isdigit() or (args[0].startswith("-") and args[0] not in ctx.help_option_names)
        return super().parse_args(ctx, ["show", *args] if asks else args)


app = typer.Typer(cls=_TaskFirst, help="Bounties of tasks: folkmoot rewards [TASK] shows them.")

TaskWord = Annotated[int, typer.Argument(help="Id of the task; see folkmoot tasks.", min=1)]
BeforeOption = Annotated[bool, typer.Option("--before-move", help="In the moot that you followed to this one.")]
TokenOption = Annotated[str | None, typer.Option("--token", help="Address of an ERC-20.", show_default=False)]


@app.command("show")
def show(
    task: Annotated[int | None, typer.Argument(help="Id of the task; all that have one, without it.", min=1)] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Show what is set aside for a task, how members were scored and were there, and what each was paid.

    Scores are what this peer made of all members' words when the season was settled.
    """
    from folkmoot.peer.home import Home

    peer = Home.open(home)
    moot = peer.moot()
    if task is not None:
        told = _told(peer, moot, moot.task(task).id)
        show_json(told) if json else _show(told)
        return
    found = [told for record in moot.tasks() if (told := _told(peer, moot, record.id))["pots"]]
    if json:
        show_json(found)
    elif not found:
        print("no task has a bounty: folkmoot rewards fund, or folkmoot move endow, sets one aside")
    for told in () if json else found:
        _show(told)


@app.command("fund")
def fund(
    task: TaskWord,
    amount: Annotated[int, typer.Argument(help="How many units of the token.", min=1)],
    token: TokenOption = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Set something of yours aside for a task: points you have earned, or any ERC-20.

    It goes to those who help the task along; it is yours again only if the task is stopped before any round is final.
    """
    from folkmoot.peer.home import Home

    moot = Home.open(home).moot()
    moot.task(task)
    unit = _address(token) if token else moot.purse.points
    before = moot.purse.pot(task, unit).funded
    moot.purse.fund(task, unit, amount)
    pot = moot.purse.pot(task, unit)
    if json:
        show_json({"task": task, "pot": _pot(pot)})
        return
    came = pot.funded - before
    note = "" if came == amount else f" ({came} of them came: the token keeps a part of what it moves)"
    print(f"{amount} units of {_called(moot, unit)} are set aside for task {task}{note}; {pot.funded} in all")


@app.command("claim")
def claim(
    token: TokenOption = None,
    before_move: BeforeOption = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Have what you have earned paid to your main account: of one token, or of all."""
    from folkmoot.errors import LedgerRefused, LocalError
    from folkmoot.peer.home import Home

    moot = _moot(Home.open(home), before_move)
    me = moot.me()
    if me is None:
        raise LocalError("this account is no member of the moot, so nothing is owed to it")
    paid, refused = {}, {}
    for unit in [_address(token)] if token else _tokens(moot):
        owed = moot.purse.owed(unit, me.index)
        if owed:
            try:
                moot.purse.claim(unit, me.index)
                paid[unit] = owed
            except LedgerRefused as refusal:  # what one token does is to keep nobody from the others
                refused[unit] = str(refusal)
    if json:
        show_json({"account": me.main, "paid": paid, "refused": refused})
    else:
        for unit, amount in paid.items():
            print(f"{amount} units of {_called(moot, unit)} are paid to {me.main}")
        for unit, why in refused.items():
            print(f"{_called(moot, unit)} does not pay: {why}")
        if not paid and not refused:
            print(f"nothing is owed to {me.name}")
    if refused and not paid:
        raise typer.Exit(1)


@app.command("reclaim")
def reclaim(
    task: TaskWord,
    token: TokenOption = None,
    before_move: BeforeOption = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Take back what you set aside for a task that was stopped before any of its rounds was final."""
    from folkmoot.errors import LedgerRefused
    from folkmoot.peer.home import Home

    peer = Home.open(home)
    moot, account = _moot(peer, before_move), peer.identity.account.address
    moot.task(task)
    funders = moot.purse.funders(task, moot.about().born)
    mine = [unit for unit, accounts in funders.items() if account in accounts and token in (None, unit)]
    if not mine:
        raise LedgerRefused(f"you have set nothing aside for task {task}")
    for unit in mine:
        moot.purse.reclaim(task, unit)
    if json:
        show_json({"task": task, "tokens": mine})
    else:
        print(f"what you set aside for task {task} is yours again: {', '.join(_called(moot, unit) for unit in mine)}")


def _moot(peer: Home, before_move: bool) -> Moot:
    from folkmoot.peer.leaving import moot_before

    return moot_before(peer) if before_move else peer.moot()


# ---- what there is to be told ---------------------------------------------------------------------------------------


def _told(peer: Home, moot: Moot, task: int) -> dict[str, Any]:
    from folkmoot.ledger.documents import names_of
    from folkmoot.peer.journal import ratings

    purse, born, members = moot.purse, moot.about().born, moot.members()
    names = {member.index: member.name for member in members}
    pots = purse.pots(task, born)
    settlements = [
        {
            "token": settled.token,
            "first_round": settled.first,
            "last_round": settled.last,
            "amount": settled.amount,
            "parts": {names[at]: part for at, part in enumerate(settled.parts) if part},
            "signed_by": names_of(settled.signers, names),
        }
        for settled in purse.settlements(task, born)
    ]
    owed = {pot.token: {m.name: amount for m in members if (amount := purse.owed(pot.token, m.index))} for pot in pots}
    seasons = ratings(peer, task)
    scores = dict(_scores(moot, task, members, seasons.get(max(seasons, default=0), {})))
    points = purse.points
    return {
        "task": task,
        "points": points,
        "pots": [_pot(pot) for pot in pots],
        "scores": scores,
        "settlements": settlements,
        "owed": owed,
    }


def _pot(pot: Pot) -> dict[str, Any]:
    return {"token": pot.token, "funded": pot.funded, "released": pot.released, "last_round": pot.last or None}


def _scores(
    moot: Moot, task: int, members: tuple[Member, ...], rated: Mapping[int, int]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Of each member that was in any round, its score as a share of what a round gains, and its service."""
    from folkmoot.reward import Service, availability
    from folkmoot.reward.scores import UNIT

    served = availability((final.survivors, final.signers, final.members) for final in moot.finals(task))
    for member in members:
        service = served.get(member.index, Service())
        if service.rounds:
            score = rated[member.index] / UNIT if member.index in rated else None
            told = {"score": score, "rounds": service.rounds, "survived": service.survived, "signed": service.signed}
            yield member.name, told


def _show(told: Mapping[str, Any]) -> None:
    task, points = told["task"], told["points"]

    def called(token: str) -> str:
        return "points" if token == points else token

    if not told["pots"]:
        print(f"nothing is set aside for task {task}: folkmoot rewards fund, or folkmoot move endow, does that")
        return
    show_table(
        ("token", "set aside", "split", "up to round"),
        [(called(p["token"]), p["funded"], p["released"], p["last_round"]) for p in told["pots"]],
        title=f"the bounty of task {task}",
    )
    show_table(
        ("member", "score", "rounds", "counted in", "signed", *(f"owed, {called(t)}" for t in told["owed"])),
        [
            (
                name,
                s["score"],
                s["rounds"],
                s["survived"],
                s["signed"],
                *(o.get(name, 0) for o in told["owed"].values()),
            )
            for name, s in told["scores"].items()
        ],
    )
    for settled in told["settlements"]:
        parts = ", ".join(f"{name} {part}" for name, part in settled["parts"].items())
        first, last = settled["first_round"], settled["last_round"]
        span = f"rounds {first} to {last}" if first <= last else "the rest"
        print(f"{settled['amount']} {called(settled['token'])} for {span}: {parts}")


def _tokens(moot: Moot) -> list[str]:
    """Every token that was ever set aside in the moot."""
    born = moot.about().born
    return list(dict.fromkeys(token for record in moot.tasks() for token in moot.purse.funders(record.id, born)))


def _called(moot: Moot, token: str) -> str:
    return "points" if token == moot.purse.points else token


def _address(token: str) -> str:
    from folkmoot.errors import LocalError
    from folkmoot.ledger.address import checksum_address

    try:
        return checksum_address(token)
    except ValueError as error:
        raise LocalError(str(error)) from None
