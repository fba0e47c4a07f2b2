"""A member that sends nonsense by the thousand, each message fit for its schema: its receivers go on."""

import asyncio
import functools
from pathlib import Path
from typing import get_args

import pytest
import rig
from fuzz import Fuzz

from folkmoot.errors import FolkmootError
from folkmoot.network import BlobMessage, Limits, Node, node
from folkmoot.peer.messages import RoundMessage

NAMES = ["anna", "bert", "carl", "dora"]
KINDS = (*get_args(RoundMessage), *get_args(BlobMessage))
AT_ONCE = 16


def forbearing() -> None:
    """Nobody is set aside, however often it breaks the rules: all of it is to reach the handlers."""
    node.Limits = functools.partial(Limits, violations=1 << 30)  # type: ignore[misc,assignment]


async def pelt(moot: rig.Rig, liar: str, count: int, fuzz: Fuzz) -> set[str]:
    """Send so many random messages to all other members; the kinds of answers and refusals that came."""
    home, heard = moot.homes[liar], set[str]()
    others = {m.endpoint: m.addresses for m in moot.client().members() if m.endpoint != home.identity.endpoint}
    sender = Node(home.identity.endpoint_secret, BlobMessage | RoundMessage)
    await sender.start()
    sender.allow(others)

    async def send(endpoint: bytes) -> None:
        try:
            answer, _ = await sender.request(endpoint, fuzz.message(KINDS), body=fuzz.body(), timeout=30, most=1 << 24)
            heard.add(type(answer).__name__)
        except FolkmootError as error:
            heard.add(type(error).__name__)

    try:
        for _ in range(count // (AT_ONCE * len(others))):
            await asyncio.gather(*(send(endpoint) for endpoint in others for _ in range(AT_ONCE)))
    finally:
        await sender.close()
    return heard


def pelted(tmp_path: Path, count: int, seed: int) -> None:
    source = rig.tiny_task(tmp_path / "task.py", rounds=12, start_members=3, train_seconds=5, pause=0.1)
    with rig.moot(tmp_path / "moot", NAMES, start=False) as moot:
        honest = NAMES[:3]
        moot.start(*honest, before=forbearing)
        task = moot.offer(source, rig.tiny_data(tmp_path, NAMES), grant=False)
        moot.grant(task, *honest)
        moot.until("all can be reached", lambda: all(m.addresses for m in moot.client().members()[:3]))
        heard = asyncio.run(pelt(moot, "dora", count, Fuzz(seed, (0, 1, 2, 3, task))))
        assert {"Missing", "Unavailable", "PeerRefused"} <= heard  # by handlers, with a schema that fits
        moot.until("the task is done", lambda: moot.view(task).phase.name == "DONE")
        for name in honest:
            told = [record for record in moot.log(name) if "internal error" in str(record.get("message"))]
            assert not told, told[0]
        moot.filled(task, *honest)
        assert moot.verify("anna").rounds == 12


def test_a_moot_finishes_under_a_rain_of_messages_that_mean_nothing(tmp_path: Path) -> None:
    pelted(tmp_path, 1_200, seed=1)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 6))
def test_a_moot_finishes_under_a_long_rain_of_messages_that_mean_nothing(tmp_path: Path, seed: int) -> None:
    pelted(tmp_path, 20_000, seed)
