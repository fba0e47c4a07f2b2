"""Moving bytes between two processes of one machine, against a plain TCP copy in the same run.

``python -m benchmarks.transfer``: a blob fetched from another process's store into ours (encrypted, authenticated,
every chunk verified, written to disk), and the same number of bytes copied by plain asyncio TCP into a file; CPU is
that of both processes together. Then what peers do most: a push of 400 kB answered by a few bytes, and a request
with no body.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from benchmarks.report import Row, print_rows
from folkmoot.digest import Hash
from folkmoot.network import BlobMessage, BodyReader, Message, Node, Reply, fetch, serve_blobs
from folkmoot.store import Store

PIECE = 1 << 18
PUSH = 400_000


class Push(Message, frozen=True):
    """A body to be counted."""


class Ack(Message, frozen=True):
    """The CPU seconds the answering process has used."""

    cpu: float


MESSAGES = BlobMessage | Push | Ack


async def serve(secret: str, client: str, where: str) -> None:
    """The other process: one node over the store at ``where``, one TCP port that sends what is asked for."""
    node = Node(bytes.fromhex(secret), MESSAGES)
    blobs = serve_blobs(Store(Path(where)))

    async def answer(peer: bytes, message: Message, body: BodyReader) -> Reply | Message | None:
        if isinstance(message, Push):
            await body.read(PUSH)
            return Ack(time.process_time())
        return await blobs(peer, message, body)

    async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        piece = os.urandom(PIECE)
        while header := await reader.read(8):
            (size,) = struct.unpack("<Q", header)
            for at in range(0, size, PIECE):
                writer.write(piece[: size - at])
                await writer.drain()
        writer.close()

    node.serve(answer)
    await node.start()
    node.allow({bytes.fromhex(client): []})
    plain = await asyncio.start_server(send, "127.0.0.1", 0)
    print(node.id.hex(), node.addresses()[0], plain.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await node.close()


class Bench:
    """Both sides, and the clocks: wall seconds here, CPU seconds of both processes."""

    def __init__(self, node: Node, server: bytes, port: int, folder: Path):
        self.node = node
        self.server = server
        self.port = port
        self.folder = folder

    async def clocks(self) -> tuple[float, float]:
        message, _ = await self.node.request(self.server, Push(), timeout=10)
        assert isinstance(message, Ack)
        return time.perf_counter(), message.cpu + time.process_time()

    async def timed(self, work: Callable[[], Awaitable[object]], times: int) -> tuple[float, float]:
        """Median wall and mean CPU seconds of ``work``."""
        walls: list[float] = []
        _, cpu = await self.clocks()
        for _ in range(times):
            began = time.perf_counter()
            await work()
            walls.append(time.perf_counter() - began)
        _, after = await self.clocks()
        return statistics.median(walls), (after - cpu) / times

    async def blob(self, name: Hash, size: int) -> None:
        store = Store(self.folder / "mine")
        store.delete(name)
        await fetch(self.node, store, name, [self.server], max_size=size, timeout=60)

    async def tcp(self, size: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(struct.pack("<Q", size))
        with (self.folder / "copy").open("wb", buffering=0) as file:
            while size:
                piece = await reader.read(PIECE)
                file.write(piece)
                size -= len(piece)
        writer.close()
        await writer.wait_closed()

    async def pushes(self, count: int, body: bytes) -> None:
        await asyncio.gather(*(self.node.request(self.server, Push(), body=body, timeout=60) for _ in range(count)))

    async def ping(self) -> None:
        await self.node.request(self.server, Push(), timeout=10)

    async def tcp_pings(self, count: int) -> float:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        walls: list[float] = []
        for _ in range(count):
            began = time.perf_counter()
            writer.write(struct.pack("<Q", 1))
            await reader.readexactly(1)
            walls.append(time.perf_counter() - began)
        writer.close()
        return statistics.median(walls)


async def measure(bench: Bench, name: Hash, size: int, times: int) -> list[Row]:
    """All figures."""
    await bench.blob(name, size)
    await bench.tcp(size)
    ours, ours_cpu = await bench.timed(lambda: bench.blob(name, size), times)
    plain, plain_cpu = await bench.timed(lambda: bench.tcp(size), times)
    push, push_cpu = await bench.timed(lambda: bench.pushes(56, os.urandom(PUSH)), times)
    ping, _ = await bench.timed(bench.ping, 200)
    tcp_ping = await bench.tcp_pings(200)
    mb, gb = size / 1e6, size / 1e9
    return [
        Row("blob transfer", mb / ours, "MB/s", f"TCP copy {mb / plain:,.0f} MB/s", plain / ours, None),
        Row("CPU, both sides", ours_cpu / gb, "s/GB", f"TCP {plain_cpu / gb:.2f} s/GB", ours_cpu / plain_cpu, None),
        Row("56 pushes of 400 kB at once", push * 1e3, "ms", f"{56 * PUSH / 1e6 / push:,.0f} MB/s", None, None),
        Row("their CPU, both sides", push_cpu * 1e3, "ms", f"{push_cpu / 56 * 1e3:.2f} ms a push", None, None),
        Row("small request", ping * 1e3, "ms", f"TCP {tcp_ping * 1e3:.2f} ms", ping / tcp_ping, None),
    ]


async def run(size: int, times: int) -> list[Row]:
    """Start the other process, measure, stop it."""
    secret = os.urandom(32)
    node = Node(os.urandom(32), MESSAGES)
    with tempfile.TemporaryDirectory(prefix="folkmoot-transfer-") as temporary:
        folder = Path(temporary)
        name = Store(folder / "theirs").put(os.urandom(size))
        arguments = ["--serve", secret.hex(), node.id.hex(), str(folder / "theirs")]
        other = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.transfer", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert other.stdout is not None
            server, address, port = other.stdout.readline().split()
            await node.start()
            node.allow({bytes.fromhex(server): [address]})
            return await measure(Bench(node, bytes.fromhex(server), int(port), folder), name, size, times)
        finally:
            await node.close()
            other.communicate()


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Measure and print. Returns the rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfer", description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=int, default=64, help="size of the blob")
    parser.add_argument("--times", type=int, default=5, help="repetitions; the median is given")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.serve:
        asyncio.run(serve(*options.serve))
        return []
    rows = asyncio.run(run(options.megabytes * 1_000_000, options.times))
    print_rows("Transfer between two processes", rows)
    return rows


if __name__ == "__main__":
    main()
