"""How our long-lived processes treat memory, and whom they outlive."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import signal
import sys

__all__ = ["die_with_parent", "keep_buffers", "settle"]

_PR_SET_PDEATHSIG = 1
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_KEPT = 256 << 20


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
