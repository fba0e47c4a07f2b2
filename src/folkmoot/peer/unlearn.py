"""Training that is done again without a member: a task of its own, which continues another one from the last model
that the member had no part in, and counts none of its contributions.

The start is pinned in the task's bundle (``task.pin``). Every peer checks it against the ledger before it takes part,
and whoever replays the history checks it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from folkmoot.errors import LocalError, TaskError
from folkmoot.ledger import Moot
from folkmoot.ledger.motions import Kind
from folkmoot.ledger.records import Final, Standing, TaskRecord, member_named
from folkmoot.peer import governing
from folkmoot.peer.home import Home
from folkmoot.peer.offering import bundle_of, check_deliverable, terms_of
from folkmoot.task.bundle import read_bundle
from folkmoot.task.pin import PIN_FILE, Pin, continued_bundle, pin_of, pinned_bundle, read_pin

__all__ = ["Stretch", "check_start", "course_of", "propose_without"]


@dataclass(frozen=True)
class Stretch:
    """The final rounds of one task that a model's course goes through."""

    record: TaskRecord
    finals: tuple[Final, ...]


def course_of(moot: Moot, record: TaskRecord, pin: Pin | None, upto: int | None = None) -> list[Stretch]:
    """The course of a task's model from the very first state on: the task's own rounds, after those of the tasks that
    it continues. ``upto`` is the last round of the task itself; all unless told."""
    finals = moot.finals(record.id)
    own = Stretch(record, tuple(finals if upto is None else finals[:upto]))
    if pin is None:
        return [own]
    before = read_pin(pin.before.encode()) if pin.before else None
    return [*course_of(moot, moot.task(pin.task), before, pin.round), own]


def check_start(moot: Moot, record: TaskRecord, bundle: bytes) -> Pin | None:
    """What the bundle of ``record`` says of its start, checked against the ledger; ``None`` where the task begins by
    itself.

    Raises ``TaskError`` unless the start is a final model of the task that it says, made by the same code, with no
    contribution of a member that is to be left out.
    """
    files = read_bundle(bundle)
    pin = pin_of(files)
    while pin is not None:
        _check(moot, record, files, pin)
        if not pin.before:
            break
        # the task that is continued continues another one: so far back goes the check
        record, files = moot.task(pin.task), {**files, PIN_FILE: pin.before.encode()}
        pin = pin_of(files)
    return pin_of(read_bundle(bundle))


def _check(moot: Moot, record: TaskRecord, files: dict[str, bytes], pin: Pin) -> None:
    if (pin.chain_id, pin.contract.lower()) != (moot.chain_id, moot.address.lower()):
        raise TaskError("it is refused: it continues a task of another moot")
    if not 0 < pin.task < record.id:
        raise TaskError(f"it is refused: it continues task {pin.task}, which was not there when it was proposed")
    base = moot.task(pin.task)
    if continued_bundle(files, pin) != base.bundle:
        raise TaskError(f"it is refused: its code is not that of task {pin.task}, which it continues")
    finals = moot.finals(pin.task)[: pin.round]
    if len(finals) != pin.round:
        raise TaskError(f"it is refused: it starts from round {pin.round} of task {pin.task}, which is not final")
    model = finals[-1].model if finals else base.genesis
    if pin.state != model or record.genesis != model:
        raise TaskError(f"it is refused: it does not start from the model of round {pin.round} of task {pin.task}")
    before = read_pin(pin.before.encode()) if pin.before else None
    for final in _rounds(course_of(moot, base, before, pin.round)):
        if final.survivors & pin.excluded:
            raise TaskError(
                f"it is refused: round {final.round} of task {final.task}, before its start, counts a member that is to"
                " be left out"
            )


def _rounds(course: list[Stretch]) -> Iterator[Final]:
    for stretch in course:
        yield from stretch.finals


def propose_without(home: Home, task: int, member: str, *, sandbox: bool = True) -> tuple[TaskRecord, Pin]:
    """Propose that ``task`` is trained again without a member, from the last model before its first contribution.

    ``member`` is its name or number. Puts the proposal to the vote. Raises ``LocalError`` where the member has nothing
    in the model, or too few are left without it. Loads the task's code in a worker, to learn its policy.
    """
    from folkmoot.peer.workbench import Workbench

    moot = home.moot()
    record = moot.task(task)
    files = read_bundle(bundle_of(home, record))
    before = pin_of(files)
    index = member_named(moot.members(), member).index
    excluded = (before.excluded if before else 0) | 1 << index
    course = course_of(moot, record, before)
    with Workbench(bundle_of(home, record), home, sandbox=sandbox) as bench:
        grouped = bench.load().policy.grouped
    start, round = _start(course, excluded, grouped)
    pin = _pin(moot, start, round, course[-1].record, files, excluded)
    bundle = pinned_bundle(files, pin)
    with Workbench(bundle, home, sandbox=sandbox, record=False) as bench:
        continued = bench.load()
    check_deliverable(continued.policy, (moot.living() & ~excluded).bit_count())
    store = home.store()
    id = moot.propose(store.put(bundle, durable=True), pin.state, terms_of(continued.policy))
    governing.move(moot, Kind.STEER, id, Standing.ADOPTED)
    return moot.task(id), pin


def _start(course: list[Stretch], excluded: int, grouped: bool) -> tuple[Stretch, int]:
    """The stretch and round whose model is the last before any contribution of those excluded."""
    for stretch in course:
        for final in stretch.finals:
            if final.survivors & excluded:
                # where members are dealt into groups, a first round draws how: only a very first state knows of that
                return (course[0], 0) if grouped else (stretch, final.round - 1)
    raise LocalError("no final round counts a contribution of that member: there is nothing to be done again")


def _pin(moot: Moot, start: Stretch, round: int, last: TaskRecord, files: dict[str, bytes], excluded: int) -> Pin:
    record = start.record
    others = (last.granted | _counted(start)) & moot.living() & ~excluded
    if others.bit_count() < record.min_members:
        raise LocalError(
            f"task {record.id} needs {record.min_members} contributions in each round, and without that member"
            f" {others.bit_count()} members are left that gave any"
        )
    own = pin_of(files)
    while own is not None and record.id != last.id:
        last = moot.task(own.task)
        files = {**files, PIN_FILE: own.before.encode()} if own.before else _without_pin(files)
        own = pin_of(files)
    return Pin(
        chain_id=moot.chain_id,
        contract=moot.address,
        task=record.id,
        round=round,
        model=(start.finals[round - 1].model if round else record.genesis).hex(),
        without=tuple(m for m in range(256) if excluded >> m & 1),
        rounds=record.training - round,
        start_members=max(record.min_members, min(record.start_members, others.bit_count())),
        before=files[PIN_FILE].decode() if own is not None else "",
    )


def _without_pin(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if name != PIN_FILE}


def _counted(stretch: Stretch) -> int:
    counted = 0
    for final in stretch.finals:
        counted |= final.survivors
    return counted
