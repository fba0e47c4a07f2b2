"""How our long-lived processes treat memory, whom they outlive, and how much a worker may take."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import resource
import signal
import sys

__all__ = ["confine", "die_with_parent", "keep_buffers", "settle"]

_PR_SET_PDEATHSIG = 1
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_KEPT = 256 << 20
_FILES = 1024
_THREADS = 4096
"""Before Linux 5.14 all threads of the user count, here and elsewhere; root is never held to it."""


def keep_buffers() -> None:
    """On glibc, keep freed buffers of up to 256 MiB for the next ones.

    A round makes and frees the same dozen megabytes each time. Given back to the kernel in between, every page of
    them is cleared and mapped again.
    """
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):  # another C library
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_M_MMAP_THRESHOLD, _KEPT)
            mallopt(_M_TRIM_THRESHOLD, _KEPT)
            mallopt(_M_TOP_PAD, 8 << 20)


def settle() -> None:
    """Take what was imported out of the garbage collector's sight: it stays, so looking through it again and again
    finds nothing."""
    gc.collect()
    gc.freeze()


def die_with_parent() -> None:
    """On Linux, end at once when the parent does, however it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def confine(memory: int, *, alone: bool) -> None:
    """Hold this process, and what it starts, to ``memory`` bytes and no dump of them, for good.

    ``alone`` in a sandbox it is held to all that it maps. Outside, to what it writes to: there a graphics card's driver
    may map many times as much as there is.
    """
    limits = {resource.RLIMIT_CORE: 0}
    if sys.platform == "linux":
        limits[resource.RLIMIT_AS if alone else resource.RLIMIT_DATA] = memory
        if alone:
            limits |= {resource.RLIMIT_FSIZE: memory, resource.RLIMIT_NOFILE: _FILES, resource.RLIMIT_NPROC: _THREADS}
            limits |= {resource.RLIMIT_MSGQUEUE: 0, resource.RLIMIT_MEMLOCK: 0}
    for kind, most in limits.items():
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
