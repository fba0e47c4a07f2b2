"""What one peer may ask of a node, and the two small counters that hold it to it."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

__all__ = ["Allowance", "Limits", "TokenBucket"]


@dataclass(frozen=True)
class Limits:
    """Bounds per peer. The defaults let eight peers of a fast network run freely and a stray one do no harm."""

    streams: int = 64
    """Exchanges a peer may have open at once; QUIC itself makes it wait beyond that."""
    bytes_in_flight: int = 256 << 20
    """Bytes of bodies being received or handled at once; further ones wait."""
    window: int = 32 << 20
    """Bytes a connection may have sent that nobody has read yet."""
    requests_per_second: float = 2000.0
    """Exchanges a peer may begin, in the long run; further ones wait."""
    burst: int = 4000
    """Exchanges it may begin at once after a pause."""
    stall_seconds: float = 10.0
    """How long a message may take to arrive once its stream is open."""
    slowest_rate: float = 64 * 1024
    """Bytes a second; a body gets ``stall_seconds`` plus its size at this rate."""
    dial_seconds: float = 10.0
    """How long one attempt to connect may take."""
    backoff_seconds: float = 0.1
    """Pause after the first failed attempt; doubles with each, with jitter, up to ``backoff_most``."""
    backoff_most: float = 10.0
    handshakes: int = 64
    """Connections in the middle of their handshake, from anyone; further ones are refused."""
    violations: int = 16
    """Breaches of the protocol, forgiven one every ``set_aside_seconds``, after which a peer is set aside."""
    set_aside_seconds: float = 30.0

    def patience(self, size: int) -> float:
        """Seconds that ``size`` bytes may take to come or go."""
        return self.stall_seconds + size / self.slowest_rate


class TokenBucket:
    """Lets ``burst`` through at once and ``rate`` a second after that. Time is given, in seconds."""

    def __init__(self, rate: float, burst: float, now: float):
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._then = now

    def take(self, now: float) -> float:
        """Take one token. Returns how many seconds to wait until it is there: 0 mostly."""
        self._tokens = min(self._burst, self._tokens + (now - self._then) * self._rate) - 1.0
        self._then = now
        return max(0.0, -self._tokens / self._rate)


class Allowance:
    """So many bytes at once; who comes too late waits, first come first served."""

    def __init__(self, total: int):
        self.total = total
        self._free = total
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, amount: int) -> None:
        """Wait until ``amount``, at most ``total``, is free, and take it."""
        if not self._queue and amount <= self._free:
            self._free -= amount
            return
        place = asyncio.get_running_loop().create_future()
        self._queue.append((amount, place))
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.give(amount)
            else:
                self._queue.remove((amount, place))
                self._serve()
            raise

    def give(self, amount: int) -> None:
        """Give ``amount`` back."""
        self._free += amount
        self._serve()

    def _serve(self) -> None:
        while self._queue and self._queue[0][0] <= self._free:
            amount, place = self._queue.popleft()
            if not place.done():
                self._free -= amount
                place.set_result(None)
