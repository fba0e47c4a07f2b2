"""The worker of a peer that lies: ``python -m folkmoot.simulate.lying_worker ATTACK BLOBS MEMORY SANDBOX``.

It is the ordinary worker in all but one thing: what it makes of its data is a lie. The lie is told in integers, before
noise and masks, so that no secrecy stands in its way; number of examples, votes and metrics stay what they are.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from folkmoot.peer import worker
from folkmoot.round.layout import Layout
from folkmoot.round.reduce import Made, draws, make_contribution
from folkmoot.simulate.attacks import Array, Attack, Lie, Sight, gaussian, label_flip, poisoned, zero
from folkmoot.task import Context, State, Task

__all__ = ["LONE", "lying", "main"]

SCALE = 10.0
"""How many times as large as its contribution the turned one is that a liar sends."""
Make = Callable[[Task, State, Any, Context, Layout], Made]


def _alone(own: Array, seed: bytes) -> Sight:
    """All that a real liar sees: it is bound to what it sends before anybody shows anything."""
    return Sight(own[None], own, 1, lambda inputs: inputs[0], seed)


def _turned(sight: Sight) -> Array:
    return -SCALE * sight.own


LONE: Mapping[str, Attack] = {
    "sign-flip": Attack(_turned),
    "gaussian": Attack(lambda sight: gaussian(_alone(sight.own, sight.seed))),
    "zero": Attack(zero),
    "label-flip": Attack(poison=label_flip),
}
"""The attacks that take nothing but the liar's own data and contribution."""


def lying(make: Make, attack: Attack) -> Make:
    """What makes contributions as ``make`` does, and lies about them."""

    def lie(task: Task, state: State, data: Any, context: Context, layout: Layout) -> Made:
        made = make(task, state, poisoned(data, attack, [data]), context, layout)
        if attack.lie is None or draws(task.policy, state):
            return made
        return _told(made, attack.lie, context.seed, layout)

    return lie


def _told(made: Made, lie: Lie, seed: bytes, layout: Layout) -> Made:
    """``made`` with the words of a lie, which take as many bits as any others."""
    steps = np.repeat([2.0**exponent for exponent in layout.exponents], layout.sizes)
    if layout.weighted:
        steps /= float(made.side[0])
    own = made.values * steps
    told = lie(_alone(own, seed))
    limit = float((1 << (layout.bits - 1)) - 1)
    words = np.rint(np.clip(told / steps, -limit, limit)).astype(np.int64)
    return replace(made, values=words, norm=float(np.linalg.norm(words * steps)))


def main() -> None:
    """Serve as the ordinary worker does."""
    attack = sys.argv.pop(1)
    # the one function in which the ordinary worker turns data into a contribution
    vars(worker)["make_contribution"] = lying(make_contribution, LONE[attack])
    worker.main()


if __name__ == "__main__":
    main()
