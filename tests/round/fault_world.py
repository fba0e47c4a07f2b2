"""Virtual time and a virtual network: everything that happens is one heap of events and one seeded source of chance."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

Reply = object
Then = Callable[[Reply], None]
TIMEOUT = 3.0


class Host(Protocol):
    """Who is on the network: gets messages, and gives an answer at once or later."""

    def answer(self, sender: int, message: object, then: Then) -> None: ...

    @property
    def reachable(self) -> bool: ...


class Clock:
    """Virtual seconds, and what is due when."""

    def __init__(self, start: float) -> None:
        self.now = start
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.events = 0

    def at(self, time: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._due, (max(time, self.now), next(self._order), what))

    def run(self, until: float, done: Callable[[], bool]) -> None:
        """Let things happen until ``done``, or the time is up."""
        while self._due and not done():
            if self._due[0][0] > until:
                self.now = until
                return
            self.now, _, what = heapq.heappop(self._due)
            self.events += 1
            what()


@dataclass
class Weather:
    """What the network does to messages."""

    loss: float = 0.0
    duplicates: float = 0.0
    slowest: float = 0.05
    islands: list[set[int]] = field(default_factory=list)
    """Members on different islands do not hear each other; members on none hear all."""

    def parted(self, a: int, b: int) -> bool:
        return any((a in island) != (b in island) for island in self.islands)


class Network:
    """Requests and answers between members, each of which may be lost, late, doubled or overtaken."""

    def __init__(self, clock: Clock, chance: Random) -> None:
        self.clock = clock
        self.chance = chance
        self.weather = Weather()
        self.hosts: dict[int, Host] = {}
        self.requests = 0

    def ask(self, sender: int, to: int, message: object, then: Then) -> None:
        """Send ``message``; ``then`` gets the answer, or ``None`` when none came in time."""
        self.requests += 1
        waiting = [then]

        def finish(reply: Reply) -> None:
            if waiting:
                waiting.pop()(reply)

        def back(reply: Reply) -> None:
            self._carry(to, sender, lambda: finish(reply))

        def arrive() -> None:
            host = self.hosts.get(to)
            if host is not None and host.reachable:
                host.answer(sender, message, back)

        self._carry(sender, to, arrive)
        self.clock.at(self.clock.now + TIMEOUT, lambda: finish(None))

    def _carry(self, sender: int, to: int, deliver: Callable[[], None]) -> None:
        weather, chance = self.weather, self.chance
        copies = 1 + (chance.random() < weather.duplicates)
        for _ in range(copies):
            if chance.random() >= weather.loss and not weather.parted(sender, to):
                self.clock.at(self.clock.now + chance.uniform(0.005, weather.slowest), deliver)
