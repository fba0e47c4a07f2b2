"""A task whose code is malicious: it tries what no task may do, and says how that went.

What it tries is in ``ATTACKS``. ``LOUD`` it tries one thing for each contribution, the one that the first byte of the
seed says, and is honest where that is 0; otherwise it tries all, in silence, and is honest besides.
"""

import contextlib
import os
import signal
import socket
import struct
import sys
import threading
import time
from pathlib import Path

import msgspec
import numpy as np

from folkmoot.peer.asks import Delivery, Made
from folkmoot.store import Manifest
from folkmoot.task import Contribution, Policy, State

TARGETS = {}
LOUD = True


def read(name):
    return Path(TARGETS[name]).read_bytes()


def see(name):
    return sorted(os.listdir(TARGETS[name]))


def see_beside_the_data():
    data = Path(TARGETS["data"])
    beside = [path.name for path in data.parent.iterdir() if path != data]
    if not beside:
        raise FileNotFoundError("nothing beside it")
    return beside


def connect():
    with socket.create_connection(("127.0.0.1", TARGETS["port"]), timeout=2) as found:
        return found.getpeername()


def speak_to_the_host():
    return socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)


def write(path):
    Path(path).write_bytes(b"x")
    return f"{path} is written"


def write_to_each(*places):
    """What went through of writing to each of these."""
    done = []
    for place in places:
        with contextlib.suppress(OSError):
            done.append(write(place))
    if not done:
        raise PermissionError("nothing can be written")
    return done


def delete_blobs():
    (folder,) = [word for word in sys.argv if Path(word).is_dir()]
    blobs = os.listdir(folder)
    assert blobs, "there are blobs to be deleted"
    os.remove(Path(folder) / blobs[0])
    return "a blob is deleted"


def change_blobs():
    (folder,) = [word for word in sys.argv if Path(word).is_dir()]
    path = Path(folder) / os.listdir(folder)[0]
    path.chmod(0o600)
    return path.write_bytes(b"x")


def reopen_what_is_open():
    """Files that a descriptor leads to, in whatever namespace they lie."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{number}")
            if target.startswith("/") and not target.startswith(("/dev/", "/proc/")):
                found.append(target)
    if not found:
        raise FileNotFoundError("nothing is open but pipes")
    return found


def fork():
    made = os.fork()
    if not made:
        time.sleep(600)
    return made


def fork_often():
    """At most a hundred times: where the limits fail, the machine should survive it."""
    made = []
    for _ in range(100):
        made.append(os.fork())
        if not made[-1]:
            time.sleep(600)
    return len(made)


def run_a_program():
    return os.spawnv(os.P_WAIT, "/bin/sh", ["sh", "-c", "true"])


def leave_a_process():
    if os.fork():
        return "it is left"
    os.setsid()
    time.sleep(600)


def take_memory():
    return len(np.ones(TARGETS["memory"], dtype=np.uint8))


def take_memory_in_pieces():
    pieces = []
    while 16 * len(pieces) < 2 * TARGETS["memory"] >> 20:
        pieces.append(bytearray(1 << 24))
    return "twice as much as it may"


def take_shared_memory():
    return os.memfd_create("x")


def fill_scratch():
    with open("/tmp/large", "wb") as file:
        for _ in range(TARGETS["memory"] >> 20):
            file.write(bytes(1 << 20))
    return "as much as memory"


def find_secrets():
    """In the environment of any process there is to be seen."""
    seen = dict(os.environ)
    for process in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            seen |= dict(pair.split("=", 1) for pair in process.read_text().split("\0") if "=" in pair)
    found = [name for name, value in seen.items() if TARGETS["secret"] in value]
    if not found:
        raise KeyError("no secret in any environment")
    return found


def kill_the_daemon():
    os.kill(TARGETS["pid"], signal.SIGKILL)
    return "it is killed"


def see_processes():
    others = [process for process in os.listdir("/proc") if process.isdigit() and int(process) > os.getpid()]
    outside = [process for process in others if process == str(TARGETS["pid"])]
    if not outside:
        raise FileNotFoundError("none of the host's processes")
    return outside


def set_up_the_kernel():
    """Where a peer runs as root, the kernel's settings are its own: the last resort is that nothing in /proc is to be
    written. What is opened here is left as it is."""
    with open("/proc/sys/kernel/core_pattern", "r+b"):
        return "it can be set"


def claim_a_blob():
    """Answer by oneself, and name a blob of another task as the own contribution."""
    say(Made((bytes.fromhex(TARGETS["foreign"]),), 1.0))
    time.sleep(600)


def fill_the_store():
    """Deliver blobs that nobody asked for."""
    for number in range(100):
        data = number.to_bytes(4, "big")
        manifest = Manifest.of(data)
        say(Delivery(manifest.name, len(data), manifest.pack()), data)
    time.sleep(600)


def say(message, more=b""):
    """Into whatever pipe there is: one of them leads to the daemon."""
    words = msgspec.msgpack.encode(message)
    for number in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):
            if number > 2 and os.readlink(f"/proc/self/fd/{number}").startswith("pipe:"):
                os.write(number, struct.pack("<I", len(words)) + words + more)


def hold_threads():
    for _ in range(3):
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    raise RuntimeError("threads are allowed")


ATTACKS = {
    "reads a key in the user's home": lambda: read("key"),
    "lists the user's home": lambda: see("home"),
    "reads the peer's identity": lambda: read("identity"),
    "reads the peer's journal": lambda: read("journal"),
    "lists the peer's store": lambda: see("store"),
    "reads another dataset": lambda: read("other data"),
    "lists where the dataset lies": see_beside_the_data,
    "connects to the loopback": connect,
    "speaks to the host of the machine": speak_to_the_host,
    "writes outside": lambda: write_to_each(*TARGETS["written"], "/x", "/dev/x", __file__),
    "changes the dataset": lambda: write(TARGETS["data"]),
    "changes blobs": change_blobs,
    "deletes blobs": delete_blobs,
    "reopens files": reopen_what_is_open,
    "forks": fork,
    "forks often": fork_often,
    "runs a program": run_a_program,
    "leaves a process behind": leave_a_process,
    "takes too much memory": take_memory,
    "takes too much memory in pieces": take_memory_in_pieces,
    "takes memory that is not counted": take_shared_memory,
    "fills its scratch space": fill_scratch,
    "finds secrets in environments": find_secrets,
    "kills the daemon": kill_the_daemon,
    "sees processes": see_processes,
    "changes the kernel's settings": set_up_the_kernel,
    "claims a blob": claim_a_blob,
    "fills the store": fill_the_store,
    "holds threads": hold_threads,
}


def attempt(attack):
    """What came of it, in a line."""
    try:
        return f"succeeded: {attack()!r}"
    except (OSError, RuntimeError, MemoryError, KeyError) as error:
        return f"failed: {type(error).__name__}: {error}"


class Hostile:
    name = "hostile"
    policy = Policy(rounds=2, min_members=3, train_seconds=4, exchange_seconds=4, final_seconds=4)

    def init(self):
        return State({"mean": np.zeros(4)})

    def schema(self, state):
        return {"mean": (4,)}

    def load(self, path):
        return np.array([float(line) for line in Path(path).read_text().splitlines()])

    def contribute(self, state, data, context):
        attacks = list(ATTACKS.values())
        if LOUD and context.seed[0]:
            raise RuntimeError(attempt(attacks[context.seed[0] - 1]))
        if not LOUD:
            for name, attack in ATTACKS.items():
                if name not in ("claims a blob", "fills the store"):
                    print(name, attempt(attack), flush=True)
        return Contribution({"mean": np.full(4, data.mean()) - state.arrays["mean"]}, len(data))

    def update(self, state, aggregate):
        return State({"mean": state.arrays["mean"] + aggregate.arrays["mean"]}, state.round + 1, state.exponents)

    def metrics(self):
        return {}

    def evaluate(self, state, data):
        return {}


task = Hostile()
