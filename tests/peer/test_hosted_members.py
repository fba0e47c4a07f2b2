"""What a lying member can do on a hosted chain: it cannot speak for the host, nor make itself the host.

The liar has the keys of member 2, ``carl``, and a node of its own; ``anna`` hosts, ``bert`` is lied to. Each test names
the line that is the defence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest
import rig
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hosted_moot import HostedRig, hosted

from folkmoot.errors import NetworkError
from folkmoot.ledger import statements
from folkmoot.ledger.chainfile import make_block
from folkmoot.ledger.hosted import HostedReplica
from folkmoot.ledger.hosting import Appointment, Head, sign_head
from folkmoot.network import BlobMessage, BodyReader, Message, Node, Reply
from folkmoot.peer.hostmessages import (
    Blocks,
    Exhibit,
    GetAppointment,
    GetBlocks,
    Hosted,
    HostMessage,
    Overdue,
    Propose,
    Row,
    Tidings,
    Voted,
)
from folkmoot.peer.messages import RoundMessage, Unavailable

NAMES = ["anna", "bert", "carl"]


class Carl:
    """The liar, and what it answers when it is asked."""

    def __init__(self, moot: HostedRig) -> None:
        self.moot = moot
        self.home = moot.homes["carl"]
        self.key = Ed25519PrivateKey.from_private_bytes(self.home.identity.endpoint_secret)
        self.answers: dict[type, Reply | Message] = {}

    @property
    def copy(self) -> HostedReplica:
        """The chain as bert has it: carl's own peer does not run."""
        return self.moot.copy("bert")

    def chain(self) -> bytes:
        block = self.copy.block(0)
        assert block is not None
        return block.hash

    def head(self, number: int) -> Head:
        """What the host signed, as bert keeps it."""
        head = self.copy.book.head(number)
        assert head is not None
        return head

    def tell(self, *messages: tuple[Message, bytes]) -> list[Message | str]:
        """Say these to bert one after the other, and then its answers."""

        async def speak(node: Node) -> list[Message | str]:
            said: list[Message | str] = []
            for message, body in messages:
                try:
                    said.append((await node.request(self.bert, message, body=body, timeout=rig.PATIENCE))[0])
                except NetworkError as error:
                    said.append(str(error))
            return said

        return self._online(speak)

    @property
    def bert(self) -> bytes:
        return self.moot.homes["bert"].identity.endpoint

    def _online(self, work: Callable[[Node], Awaitable[list[Message | str]]]) -> list[Message | str]:
        async def go() -> list[Message | str]:
            node = Node(self.home.identity.endpoint_secret, BlobMessage | RoundMessage | HostMessage)
            await node.start()
            node.serve(self._answer)
            started = [record for record in self.moot.log("bert") if record["event"] == "started"]
            node.allow({self.bert: started[-1]["addresses"]})
            try:
                return await work(node)
            finally:
                await node.close()

        return asyncio.run(go())

    async def _answer(self, peer: bytes, message: Message, body: BodyReader) -> Reply | Message:
        return self.answers.get(type(message), Unavailable("not now"))

    def tidings(self, **changes: object) -> Tidings:
        newest = self.copy.newest
        said = {"term": 0, "number": newest.number, "block": newest.hash, "wish": b"", "held": False, "voted": 0}
        return Tidings(**{**said, "signature": self.head(newest.number).signature, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def moot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostedRig]:
    with hosted(tmp_path_factory.mktemp("moot"), NAMES, start=False) as made:
        made.run("bert")
        made.until("bert has said where it is", lambda: made.client("bert").members()[1].addresses)
        made.client("bert").describe(b"\x0d" * 32, 1)
        made.same_chain("anna", "bert")
        yield made


@pytest.fixture
def carl(moot: HostedRig) -> Iterator[Carl]:
    yield Carl(moot)
    moot.copy("bert").book.change(wish=b"")
    state = moot.copy("bert").book.state
    assert (state.trouble, state.appointment) == (None, None)  # whatever carl said
    before = moot.copy("bert").number
    moot.client("bert").describe(b"\x0b" * 32, 1)
    assert moot.copy("bert").number > before


def test_a_member_cannot_speak_for_the_host(carl: Carl) -> None:
    """``head.check(self.chain, self.book.host)`` in ``peer.hostpages``."""
    newest = carl.copy.newest
    own = sign_head(carl.key, carl.chain(), 0, newest.number, b"\x01" * 32)
    true = carl.head(newest.number)
    said = carl.tell((Exhibit((own, true)), b""), (carl.tidings(block=b"\x01" * 32), b""))
    assert all("not signed by the host" in str(answer) for answer in said)


def test_true_words_of_the_host_are_no_evidence(carl: Carl) -> None:
    """``raise IntegrityError("these two blocks do not contradict each other")`` in ``peer.hostwatch``."""
    newest = carl.copy.newest
    first, second = carl.head(newest.number - 1), carl.head(newest.number)
    (said,) = carl.tell((Exhibit((first, second)), b""))
    assert "do not contradict" in str(said)


def test_a_true_signature_over_changed_bytes_does_not_convict_the_host(carl: Carl) -> None:
    """``raise Unlinked`` in ``peer.hostpages``, and that it convicts only a host that gave them itself."""
    carl.moot.kill("bert")
    carl.moot.client("anna").describe(b"\x0a" * 32, 1)
    block = carl.moot.copy("anna").newest  # bert has not seen it, and the host is away
    carl.moot.kill("anna")
    carl.moot.run("bert")
    key = Ed25519PrivateKey.from_private_bytes(carl.moot.homes["anna"].identity.endpoint_secret)
    signed = sign_head(key, carl.chain(), 0, block.number, block.hash)
    changed = block.raw[:-1] + bytes([block.raw[-1] ^ 1])
    row = Row(block.timestamp, block.hash, len(changed), signed.signature)
    carl.answers[GetBlocks] = Reply(Blocks(0, block.number, (row,)), changed)
    said = carl.tell((Exhibit((signed,), block.timestamp), changed))
    assert said == [Unavailable("that does not follow from what this peer has")]
    carl.tell((Exhibit((signed,), block.timestamp), block.raw))  # and the true bytes are a block like any other
    assert carl.copy.newest == block
    carl.moot.run("anna")
    carl.moot.same_chain("anna", "bert")


def test_who_is_not_wanted_gets_no_vote_and_no_appointment_by_too_few(carl: Carl) -> None:
    """``if book.state.wish != wanted.endpoint`` and the count of signatures in ``peer.hostvote``."""
    endpoint, newest, account = carl.home.identity.endpoint, carl.copy.newest, bytes(carl.home.identity.account.key)
    bare = Appointment(1, newest.number, newest.hash, endpoint)
    (said,) = carl.tell((Propose(bare), b""))
    assert said == Unavailable("this member wants another host")
    own = statements.sign(account, bare.digest(carl.moot.client("bert").domain))
    alone = Appointment(1, newest.number, newest.hash, endpoint, (own, own))
    carl.answers[GetAppointment] = Hosted(alone)
    (said,) = carl.tell((carl.tidings(term=1), b""))
    assert "not more than half of the members have signed this appointment" in str(said)


def test_a_wanted_host_may_give_up_no_block_that_could_stay(carl: Carl) -> None:
    """``if after is None or any(self._departs(...))`` in ``peer.hostvote``."""
    identity, copy = carl.home.identity, carl.copy
    copy.book.change(wish=identity.endpoint)
    newest, earlier = copy.newest, copy.block(copy.number - 2)
    assert earlier is not None
    low = Appointment(1, earlier.number, earlier.hash, identity.endpoint)
    own = sign_head(carl.key, carl.chain(), 0, earlier.number + 1, b"\x01" * 32)
    other = Appointment(1, newest.number, b"\x02" * 32, identity.endpoint)
    far = Appointment(2_000, newest.number, newest.hash, identity.endpoint)
    foreign = Appointment(1, newest.number, newest.hash, carl.bert)
    said = [
        str(answer)
        for answer in carl.tell(
            (Propose(low), b""),
            (Propose(low, (carl.head(earlier.number + 1),)), b""),
            (Propose(low, (own,)), b""),
            (Propose(other), b""),
            (Propose(far), b""),
            (Propose(foreign), b""),
        )
    ]
    for answer, words in zip(
        said,
        (
            "later blocks here",
            "later blocks here",
            "not signed by the host",
            "another one here",
            "term",
            "proposes itself",
        ),
        strict=True,
    ):
        assert words in answer


def test_a_member_signs_one_statement_of_a_term(carl: Carl) -> None:
    """``if wanted.term == term and digest != ...`` in ``peer.hostvote``, over restarts too: ``voted`` in the book."""
    identity, copy = carl.home.identity, carl.copy
    copy.book.change(wish=identity.endpoint)
    newest = copy.newest
    wanted = Appointment(1, newest.number, newest.hash, identity.endpoint)
    first, again = carl.tell((Propose(wanted), b""), (Propose(wanted), b""))
    assert isinstance(first, Voted)
    assert first == again
    assert copy.book.refresh()
    assert copy.book.state.voted == (1, wanted.digest(carl.moot.client("bert").domain))
    carl.moot.kill("bert")
    copy.book.change(held=False)
    carl.moot.client("anna").describe(b"\x0c" * 32, 1)
    carl.moot.run("bert")
    carl.moot.same_chain("anna", "bert")
    later = copy.newest
    (said,) = carl.tell((Propose(Appointment(1, later.number, later.hash, identity.endpoint)), b""))
    assert said == Unavailable("this member has signed another statement of term 1")
    copy.book.change(wish=b"", held=False)


def test_a_transaction_that_is_not_overdue_is_held_against_nobody(carl: Carl) -> None:
    """``self._copy.check(raw)`` in ``peer.hostcarry``."""
    block = carl.copy.newest
    carl.tell((Overdue(), block.raw), (Overdue(), b"no transaction"), (Overdue(), make_block(b"", 0, 0, b"").hash))
    carl.moot.until(
        "bert has looked into it",
        lambda: sum(record["event"] == "not overdue" for record in carl.moot.log("bert")) >= 1,
    )
    assert not any("leaves out" in said.text for said in carl.moot.peer_status("bert").errors)
