"""Which calls to the kernel the code of a task may not make: a seccomp filter, as the bytes that bubblewrap takes.

Namespaces hide what is there; this keeps the code away from much of the kernel itself, and to one process. See
``seccomp(2)`` and the kernel's ``Documentation/userspace-api/seccomp_filter.rst``.
"""

from __future__ import annotations

import platform
import struct
import sys
from collections.abc import Iterable, Mapping

__all__ = ["filter_program"]

_EPERM, _ENOSYS, _EAFNOSUPPORT = 1, 38, 97
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _EQUAL, _AT_LEAST, _BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
"""Offsets in ``struct seccomp_data``; of an argument the low half, on little-endian machines."""
_X32 = 0x40000000
"""From this number on calls are those of another ABI of x86-64, which nobody needs."""
_CLONE_THREAD = 0x00010000
_FAMILIES = (1, 2, 10)
"""AF_UNIX, AF_INET and AF_INET6, which the network namespace leaves empty. Others reach beyond it (AF_VSOCK) or into
corners of the kernel (AF_ALG, AF_NETLINK, AF_PACKET)."""

# Name: number on x86-64, on AArch64 (None: there is none).
_DENIED: Mapping[str, tuple[int, int | None]] = {
    # other processes: a task has threads and no more, so that what one process may take is all it can take
    "fork": (57, None),
    "vfork": (58, None),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    # namespaces and mounts, in which a process is allowed more
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    # memory that no limit of a process counts
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    # keys of the user's session, which are in no namespace
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # large parts of the kernel that no training needs
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "fanotify_init": (300, 262),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    # the machine
    "acct": (163, 89),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "iopl": (172, None),
    "ioperm": (173, None),
}
_CLONE, _CLONE3, _SOCKET = (56, 220), (435, 435), (41, 198)
_MACHINES: Mapping[str, tuple[int, int]] = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Column of the tables above, and the kernel's AUDIT_ARCH number."""


def filter_program() -> bytes | None:
    """The filter for this machine, an array of ``struct sock_filter``; ``None`` where its calls are not known here."""
    machine = platform.machine()
    if machine not in _MACHINES or sys.maxsize < 1 << 32:
        return None
    column, architecture = _MACHINES[machine]
    denied = [number for numbers in _DENIED.values() if (number := numbers[column]) is not None]
    return b"".join(_program(architecture, denied, _CLONE[column], _CLONE3[column], _SOCKET[column]))


def _program(architecture: int, denied: Iterable[int], clone: int, clone3: int, socket: int) -> Iterable[bytes]:
    """Each test jumps over the one return that follows it, so no distance depends on how many tests there are."""
    yield _load(_ARCHITECTURE)
    yield from _unless(_EQUAL, architecture, _KILL)
    yield _load(_NUMBER)
    yield from _where(_AT_LEAST, _X32, _ERRNO | _EPERM)
    for number in denied:
        yield from _where(_EQUAL, number, _ERRNO | _EPERM)
    # A filter cannot look into the structure that clone3 takes: without it the C library takes clone.
    yield from _where(_EQUAL, clone3, _ERRNO | _ENOSYS)
    yield _jump(_EQUAL, clone, 0, 4)
    yield _load(_FIRST_ARGUMENT)
    yield from _unless(_BITS, _CLONE_THREAD, _ERRNO | _EPERM)
    yield _return(_ALLOW)
    yield _jump(_EQUAL, socket, 0, 2 + len(_FAMILIES))
    yield _load(_FIRST_ARGUMENT)
    for left, family in zip(range(len(_FAMILIES), 0, -1), _FAMILIES, strict=True):
        yield _jump(_EQUAL, family, left, 0)
    yield _return(_ERRNO | _EAFNOSUPPORT)
    yield _return(_ALLOW)


def _where(test: int, value: int, verdict: int) -> Iterable[bytes]:
    return _jump(test, value, 0, 1), _return(verdict)


def _unless(test: int, value: int, verdict: int) -> Iterable[bytes]:
    return _jump(test, value, 1, 0), _return(verdict)


def _load(offset: int) -> bytes:
    return struct.pack("=HBBI", _LOAD, 0, 0, offset)


def _jump(test: int, value: int, met: int, otherwise: int) -> bytes:
    return struct.pack("=HBBI", test, met, otherwise, value)


def _return(verdict: int) -> bytes:
    return struct.pack("=HBBI", _RETURN, 0, 0, verdict)
