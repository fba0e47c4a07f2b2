"""How a model came to be: from the first state to it, round by round, each with the datasets and grants behind it.

Everything here is a number, a name or a hash, and points to the entry on the ledger that proves it. Nothing is taken
from anywhere but the ledger; the code of a task is only looked into for whether it continues another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from folkmoot.errors import LocalError
from folkmoot.ledger.chronicle import Entry
from folkmoot.ledger.records import Standing, members_of
from folkmoot.peer.forebear import Forebear, forebear
from folkmoot.peer.register import Consent, Register
from folkmoot.peer.sources import Sources
from folkmoot.peer.unlearn import course_of
from folkmoot.task.bundle import read_bundle
from folkmoot.task.pin import pin_of
from folkmoot.task.policy import Policy

__all__ = [
    "Lineage",
    "Reference",
    "Share",
    "Spent",
    "Step",
    "Stretch",
    "lineage",
    "no_model",
    "reference",
    "spending",
    "trace",
]


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry on the ledger: its block, its transaction, and its number among the events of the block."""

    block: int
    transaction: str
    log: int

    def __str__(self) -> str:
        return f"block {self.block}, transaction {self.transaction}, log {self.log}"


class Share(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one survivor of a round had to do with it."""

    member: int
    name: str
    dataset: int
    card: str
    """Hash of the dataset's description."""
    records: int
    """As its owner told it."""
    grant: Reference
    commit: Reference
    epsilon_limit: float | None
    until: int | None
    last: int | None


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One final round."""

    task: int
    round: int
    attempt: int
    time: int
    """Ledger seconds."""
    parent: str
    inputs: str
    aggregate: str
    model: str
    survivors: tuple[Share, ...]
    signers: tuple[int, ...]
    members: int
    """How many members the moot had when the attempt opened; a quorum is counted of them."""
    final: Reference


class Stretch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One task that the model's course goes through, and up to which of its rounds."""

    task: int
    upto: int
    proposer: int
    bundle: str
    genesis: str
    terms: dict[str, int]
    proposed: Reference
    adopted: Reference
    without: tuple[int, ...] = ()
    """Members that the task does without, where it continues another one."""


class Lineage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The course of one model. ``steps`` go from the first state to it; each one's parent is the model before."""

    moot: str
    chain_id: int
    contract: str
    task: int
    round: int
    model: str
    course: tuple[Stretch, ...]
    steps: tuple[Step, ...]
    continues: Forebear | None = None
    """The moot that this one continues."""
    former: Lineage | None = None
    """The lineage there of the model that the course begins with, where it does and that moot's ledger was read."""

    @property
    def members(self) -> dict[int, str]:
        """Everyone of this moot with a contribution in it, by index."""
        return {share.member: share.name for step in self.steps for share in step.survivors}

    @property
    def datasets(self) -> dict[int, Share]:
        """Every dataset behind it, by id, as it was last used."""
        return {share.dataset: share for step in self.steps for share in step.survivors}


class Spent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a member's contributions to one task cost at most, where its policy adds noise."""

    task: int
    member: int
    unit: str
    """``member`` or ``record``: what the noise hides."""
    releases: int
    """Contributions that count: for members each attempt, whose noise is its own; for records each round."""
    epsilon: float
    """At most; of the unit ``record``, what all rounds are planned to cost."""
    delta: float


def reference(entry: Entry) -> Reference:
    """Where an entry stands."""
    return Reference(entry.block, "0x" + entry.transaction.hex(), entry.log_index)


def lineage(sources: Sources, task: int, round: int | None = None) -> Lineage:
    """The lineage of the model of ``round``, the last final one that trained unless told.

    Raises ``LocalError`` where there is no such model, ``IntegrityError`` where the ledger's entries do not follow from
    each other. Where the code of a task is in no store, it is taken to begin by itself.
    """
    return trace(sources, list(_course(sources, task, round)))


def no_model(task: int, round: int | None, rounds: Sequence[int]) -> LocalError:
    """What to say to who asks for the model of ``round``, or of the last, where only ``rounds`` are final."""
    if not rounds:
        return LocalError(f"task {task} has no model yet: no round of it is final; see folkmoot tasks")
    return LocalError(f"task {task} has no model of round {round}: its last final round is {rounds[-1]}")


def trace(sources: Sources, course: Sequence[tuple[int, int, tuple[int, ...]]]) -> Lineage:
    """The lineage along a course: for each task in turn the last round that counts, and whom it does without."""
    register, finals = sources.register, _finals(sources.history)
    adopted = _adopted(sources.history)
    records = {entry["dataset"]: entry for entry in sources.history if entry.kind == "Described"}
    steps: list[Step] = []
    stretches = []
    for task, upto, without in course:
        proposed = register.tasks[task].proposed if task in register.tasks else None
        if proposed is None:
            raise LocalError(f"the moot has no task {task}")
        steps += [_step(finals, register, records, task, number) for number in range(1, upto + 1)]
        terms = {name: int(value) for name, value in proposed["terms"].items()}
        hashes = (proposed["bundle"].hex(), proposed["genesis"].hex())
        places = (reference(proposed), reference(adopted.get(task, proposed)))
        stretches.append(Stretch(task, upto, proposed["proposer"], *hashes, terms, *places, without))
    moot, last = sources.moot, stretches[-1]
    model = steps[-1].model if last.upto and steps else last.genesis
    continues = forebear(sources, stretches[0].task, stretches[0].genesis)
    return Lineage(
        moot=moot.name(),
        chain_id=moot.chain_id,
        contract=moot.address,
        task=last.task,
        round=last.upto,
        model=model,
        course=tuple(stretches),
        steps=tuple(steps),
        continues=continues,
        former=_former(sources, continues),
    )


def _former(sources: Sources, continues: Forebear | None) -> Lineage | None:
    """The lineage in the moot before of the model that a course begins with here."""
    if sources.former is None or continues is None or continues.task is None:
        return None
    return lineage(sources.former, continues.task, continues.round)


def _course(sources: Sources, task: int, round: int | None) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    record = sources.moot.task(task)
    rounds = sorted(r for of, r in sources.register.counted if of == task and r <= record.training)
    if not rounds or (round is not None and round not in rounds):
        raise no_model(task, round, rounds)
    upto = round or rounds[-1]
    store = sources.find(record.bundle)
    pin = None if store is None else pin_of(read_bundle(store.get(record.bundle)))
    pins = []
    of = pin
    while of is not None:
        pins.append(of.without)
        of = pin_of({"lineage.json": of.before.encode()}) if of.before else None
    stretches = course_of(sources.moot, record, pin, upto)
    for stretch, without in zip(stretches, [(), *reversed(pins)], strict=True):
        last = upto if stretch.record.id == task else len(stretch.finals)
        yield stretch.record.id, last, without


def _finals(history: Sequence[Entry]) -> dict[tuple[int, int], Entry]:
    return {(entry["task"], entry["round"]): entry for entry in history if entry.kind == "Finalised"}


def _adopted(history: Sequence[Entry]) -> dict[int, Entry]:
    """For each task the entry that first adopted it."""
    found: dict[int, Entry] = {}
    for entry in history:
        if entry.kind == "Steered" and entry["standing"] == Standing.ADOPTED:
            found.setdefault(entry["task"], entry)
    return found


def _step(
    finals: Mapping[tuple[int, int], Entry], register: Register, records: Mapping[int, Entry], task: int, round: int
) -> Step:
    final = finals.get((task, round))
    if final is None:
        raise LocalError(f"round {round} of task {task} is not final on the ledger")
    counted = register.counted[task, round]
    return Step(
        task=task,
        round=round,
        attempt=final["attempt"],
        time=final.time,
        parent=final["parent"].hex(),
        inputs=final["inputs"].hex(),
        aggregate=final["aggregate"].hex(),
        model=final["model"].hex(),
        survivors=tuple(
            _share(register, member, commit, consent, records[consent.dataset])
            for member, (commit, consent) in counted.items()
        ),
        signers=members_of(final["signers"]),
        members=final["members"].bit_count(),
        final=reference(final),
    )


def _share(register: Register, member: int, commit: Entry, consent: Consent, dataset: Entry) -> Share:
    return Share(
        member=member,
        name=register.name(member),
        dataset=consent.dataset,
        card=dataset["card"].hex(),
        records=dataset["records"],
        grant=reference(consent.granted),
        commit=reference(commit),
        epsilon_limit=consent.epsilon,
        until=consent.until,
        last=consent.last,
    )


def spending(history: Sequence[Entry], course: Sequence[Stretch], policy: Policy) -> tuple[Spent, ...]:
    """What each member's contributions along a course cost at most, task by task; none without noise.

    The ledger shows commits, and not which contributions were sent on: so each commit counts. ``policy`` is that of the
    last task; those before have the same but for the number of rounds.
    """
    if policy.epsilon is None:
        return ()
    found = []
    for stretch in course:
        planned = Policy(**{**msgspec.structs.asdict(policy), "rounds": stretch.terms["rounds"] - 1})
        attempts = _attempts(history, stretch)
        found += [_spent(planned, stretch.task, member, attempts[member]) for member in sorted(attempts)]
    return tuple(found)


def _attempts(history: Sequence[Entry], stretch: Stretch) -> dict[int, set[tuple[int, int]]]:
    """For each member the rounds and attempts that it committed to."""
    attempts: dict[int, set[tuple[int, int]]] = {}
    for entry in history:
        if entry.kind == "Committed" and entry["task"] == stretch.task and entry["round"] <= stretch.upto:
            for member in members_of(entry["members"]):
                attempts.setdefault(member, set()).add((entry["round"], entry["attempt"]))
    return attempts


def _spent(policy: Policy, task: int, member: int, attempts: set[tuple[int, int]]) -> Spent:
    from folkmoot.privacy.budget import spent

    assert policy.epsilon is not None
    if policy.noisy:
        return Spent(task, member, policy.privacy_unit, len(attempts), spent(policy, len(attempts)), policy.delta)
    rounds = len({round for round, _ in attempts})
    return Spent(task, member, policy.privacy_unit, rounds, policy.epsilon, policy.delta)
