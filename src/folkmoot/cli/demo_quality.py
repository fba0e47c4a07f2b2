"""How good the demo's model is on held-out patients, beside the models of other ways to train."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from folkmoot.cli.demo_settings import Settings
    from folkmoot.peer.local import LocalMoot
    from folkmoot.task import State, Task

__all__ = ["quality", "ways"]

Metrics = Mapping[str, float]


def ways(settings: Settings) -> tuple[str, ...]:
    """The ways to train, in the order they are shown."""
    return ("alone", "together", *(("undefended",) if settings.attack else ()), "pooled")


def quality(
    moot: LocalMoot, settings: Settings, task: Task, together: State
) -> list[tuple[str, Mapping[str, Metrics]]]:
    """For each hospital, and all: the metrics of each way to train on its held-out patients.

    ``together`` is what the moot made. The others are made here, from the same patients and in as many rounds: of one
    hospital ``alone``, of all data ``pooled`` in one place and honest, and ``undefended``, which is the plain mean of
    what the members contribute when one lies as it did.
    """
    from folkmoot.learn import held_out, pooled

    files = {name: home.data() for name, home in moot.homes.items()}
    datasets = {
        hospital: [task.load(files[name][max(files[name])]) for name in clinics]
        for hospital, clinics in settings.clinics.items()
    }
    everyone = [data for clinics in datasets.values() for data in clinics]
    plain = _plain(task, settings.rounds)
    common = {"together": together, "pooled": pooled(plain, everyone)}
    if settings.attack:
        common["undefended"] = _undefended(plain, settings, everyone)
    rows: list[tuple[str, Mapping[str, Metrics]]] = []
    for hospital, clinics in datasets.items():
        models = {"alone": pooled(plain, clinics), **common}
        rows.append((hospital, {way: held_out(task, state, *clinics) for way, state in models.items()}))
    rows.append(("all", {way: held_out(task, state, *everyone) for way, state in common.items()}))
    return rows


def _plain(task: Task, rounds: int) -> Task:
    """``task`` with the plain mean for a rule, and nothing that guards it."""
    from msgspec.structs import replace

    plain = copy.copy(task)
    plain.policy = replace(task.policy, rounds=rounds, secrecy="public", robust="mean", mix="none", faults=0, clip=None)
    return plain


def _undefended(plain: Task, settings: Settings, datasets: Sequence[Any]) -> State:
    from folkmoot.simulate import simulate
    from folkmoot.simulate.lying_worker import LONE

    assert settings.attack is not None
    assert settings.liar is not None
    liars = [settings.learners.index(settings.liar)]
    return simulate(plain, datasets, liars=liars, attack=LONE[settings.attack.value], seed=settings.seed)
