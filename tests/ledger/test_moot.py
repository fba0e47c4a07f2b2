"""The typed client, over real chains: the embedded one, and the same behind HTTP as any node would be."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from eth_account import Account
from web3 import HTTPProvider, Web3

from folkmoot.errors import ChainError, LedgerRefused, LocalError
from folkmoot.ledger import (
    Commit,
    JoinFields,
    Moot,
    Phase,
    PolicyTerms,
    create_chain,
    members_of,
    open_chain,
    quorum,
    statements,
)
from folkmoot.ledger.chain import Chain
from folkmoot.ledger.embedded import EmbeddedProvider
from folkmoot.ledger.motions import Kind, Rules
from folkmoot.ledger.records import Grant, Seated, Standing
from folkmoot.task import Policy

VOUCHER = b"\x77" * 32
NEWCOMER = b"\x78" * 32
GENESIS = b"\x90" * 32
TERMS = PolicyTerms(rounds=3, min_members=2, start=3, train_seconds=60, exchange_seconds=30, final_seconds=90)
KEYS = [(0xF01C + number).to_bytes(32, "big") for number in range(6)]
OUTCOME = (b"\x11" * 32, b"\x22" * 32)


def fields(number: int, **changes: object) -> JoinFields:
    mark = bytes([number + 1])
    told = {"name": f"hospital {number}", "endpoint": mark * 32, "exchange": b"\xee" + mark * 31, "binding": b"b" * 64}
    return JoinFields(**(told | {"addresses": (f"192.0.2.{number}:4433",)} | changes))  # type: ignore[arg-type]


class Node(BaseHTTPRequestHandler):
    """JSON-RPC over HTTP, answered by the provider of the server."""

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = self.server.provider.make_request(request["method"], request["params"])  # type: ignore[attr-defined]
        body = json.dumps(answer | {"id": request["id"]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Clock:
    """Seconds since 1970, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path, clock: Clock) -> Path:
    create_chain(tmp_path / "ledger.sqlite", genesis_time=int(clock()))
    return tmp_path / "ledger.sqlite"


@pytest.fixture(params=["embedded", "over HTTP"])
def chain(request: pytest.FixtureRequest, file: Path, clock: Clock) -> Iterator[Web3]:
    if request.param == "embedded":
        yield Web3(EmbeddedProvider(file, clock=clock))
        return
    server = HTTPServer(("127.0.0.1", 0), Node)

    def serve() -> None:
        # the provider belongs to the thread that answers
        server.provider = EmbeddedProvider(file, clock=clock)  # type: ignore[attr-defined]
        server.serve_forever(poll_interval=0.01)

    thread = threading.Thread(target=serve)
    thread.start()
    yield Web3(HTTPProvider(f"http://127.0.0.1:{server.server_port}"))
    server.shutdown()
    thread.join()
    server.server_close()


def found(chain: Web3, members: int, seats: int = 6) -> list[Moot]:
    founder = Account.from_key(KEYS[0])
    voucher = statements.address_of(VOUCHER)
    moots = [Moot.deploy(chain, founder, name="hearts", seats=seats, voucher=voucher, founder=fields(0))]
    for number in range(1, members):
        moots.append(Moot(chain, moots[0].address, Account.from_key(KEYS[number])))
        moots[number].join(fields(number), VOUCHER)
    return moots


def start(moots: list[Moot], terms: PolicyTerms | Policy = TERMS) -> int:
    task = moots[0].propose(b"\xb0" * 32, GENESIS, terms)
    decide(moots, Kind.STEER, task, Standing.ADOPTED)
    for moot in moots[:3]:
        moot.grant(task, moot.describe(b"\xcc" * 32, 300))
    return task


def decide(moots: list[Moot], kind: Kind, *words: int) -> int:
    """All of ``moots`` vote for it, and it is enacted."""
    motion = moots[0].assembly.move(kind, *words)
    for moot in moots[1:]:
        moot.assembly.vote(motion, True)
    moots[-1].assembly.enact(motion)
    return motion


def holdings(moots: list[Moot], task: int, held: int) -> dict[int, tuple[int, bytes]]:
    at = moots[0].round_view(task)
    digest = statements.holding_digest(moots[0].domain, task, at.round, at.attempt, held)
    return {member: (held, statements.sign(KEYS[member], digest)) for member in range(len(moots))}


def models(moots: list[Moot], task: int, model: bytes) -> dict[int, bytes]:
    at = moots[0].round_view(task)
    where = (moots[0].domain, task, at.round, at.attempt, at.parent)
    digest = statements.model_digest(*where, *OUTCOME, model, at.survivors)
    return {member: statements.sign(KEYS[member], digest) for member in range(len(moots))}


def finish_round(moots: list[Moot], task: int, model: bytes) -> None:
    key = (task, moots[0].round_view(task).round, moots[0].round_view(task).attempt)
    for number, moot in enumerate(moots[:3]):
        moot.commit(*key, bytes([key[1], number]) * 16)
    moots[1].freeze(*key, holdings(moots, task, 0b111))
    moots[2].finalise(*key, *OUTCOME, model, models(moots, task, model))


def test_a_moot_from_its_founding_to_its_last_round(chain: Web3):
    moots = found(chain, 4)
    assert moots[0].name() == "hearts"
    assert moots[0].about().voucher == statements.address_of(VOUCHER)
    assert [member.name for member in moots[3].members()] == [f"hospital {number}" for number in range(4)]
    me = moots[2].me()
    assert me is not None
    told = JoinFields(me.name, me.endpoint, me.exchange, me.binding, me.addresses)
    assert (me.index, me.address, told) == (2, statements.address_of(KEYS[2]), fields(2))

    task = start(moots)
    record = moots[1].task(task)
    assert (record.rounds, record.min_members, record.start_members) == (3, 2, 3)
    assert (record.train_seconds, record.exchange_seconds, record.final_seconds) == (60, 30, 90)
    assert (record.proposer, record.bundle, record.genesis, record.granted) == (0, b"\xb0" * 32, GENESIS, 0b111)
    assert moots[3].tasks() == (record,)
    assert moots[0].grant_of(task, 1) == Grant(2, None)
    assert moots[0].grant_of(task, 3) is None
    assert moots[0].datasets()[1] == moots[0].dataset(2)
    assert (moots[0].dataset(2).owner, moots[0].dataset(2).records) == (1, 300)

    for round in (1, 2, 3):
        finish_round(moots, task, bytes([round]) * 32)
    view = moots[0].round_view(task)
    assert (view.phase, view.round, view.parent) == (Phase.DONE, 3, b"\x03" * 32)

    finals = moots[3].finals(task)
    assert [final.round for final in finals] == [1, 2, 3]
    assert [final.parent for final in finals] == [GENESIS, *(final.model for final in finals[:-1])]
    for final in finals:
        assert (final.inputs, final.aggregate) == OUTCOME
        assert (final.survivors, final.members) == (0b111, 0b1111)
        digest = statements.model_digest(
            moots[0].domain, task, final.round, 0, final.parent, *OUTCOME, final.model, final.survivors
        )
        signers = [statements.recover(digest, signature) for signature in final.signatures]
        assert signers == [statements.address_of(KEYS[member]) for member in members_of(final.signers)]
        assert len(signers) >= quorum(4)
    assert moots[3].finals(task, 3) == finals[2:]
    assert moots[1].finals(task, 2) == finals[1:]
    assert moots[1].finals(task, 4) == []
    log = moots[0].commits_log(task)
    assert len(log) == 9
    assert log[4] == Commit(task, 2, 0, 1, bytes([2, 1]) * 16, log[4].block)


def test_the_round_view_follows_every_call(chain: Web3, clock: Clock):
    moots = found(chain, 4)
    task = moots[0].propose(b"\xb0" * 32, GENESIS, TERMS)
    decide(moots, Kind.STEER, task, Standing.ADOPTED)
    assert (moots[0].round_view(task).phase, moots[0].round_view(task).round) == (Phase.GATHERING, 0)
    for moot in moots[:3]:
        moot.grant(task, moot.describe(b"\xcc" * 32, 300))
    view = moots[0].round_view(task)
    assert (view.task, view.round, view.attempt, view.phase, view.parent) == (task, 1, 0, Phase.COMMIT, GENESIS)
    assert (view.members, view.expected, view.committed, view.commits) == (0b1111, 0b0111, 0, ())
    assert (view.min_members, view.exchange_seconds, view.closed_at) == (2, 30, 0)
    assert view.commit_deadline == pytest.approx(clock() + 60, abs=1)
    moots[2].commit(task, 1, 0, b"\x02" * 32)
    moots[0].commit(task, 1, 0, b"\x01" * 32)
    view = moots[0].round_view(task)
    assert (view.committed, view.commits) == (0b101, (b"\x01" * 32, b"\x02" * 32))
    assert moots[3].round_view(task) == view, "whoever comes later reads the same"
    assert not view.closed(clock())
    assert view.closed(clock() + 61)
    moots[1].revoke(task)
    assert moots[0].round_view(task).closed_at > 0
    moots[0].freeze(task, 1, 0, holdings(moots, task, 0b101))
    view = moots[0].round_view(task)
    assert (view.phase, view.survivors) == (Phase.FROZEN, 0b101)
    clock.seconds += 91
    moots[3].retry(task, 1, 0)
    view = moots[0].round_view(task)
    assert (view.attempt, view.phase, view.expected, view.survivors) == (1, Phase.COMMIT, 0b101, 0)


def test_a_refusal_carries_the_contracts_reason_and_sends_nothing(chain: Web3):
    moots = found(chain, 3, seats=3)
    task = start(moots)
    head = moots[0].head()
    moots[0].commit(task, 1, 0, b"\x01" * 32)
    assert moots[0].head() == head + 1
    refusals: list[tuple[str, Callable[[], object]]] = [
        ("already committed", lambda: moots[0].commit(task, 1, 0, b"\x01" * 32)),
        ("not this attempt", lambda: moots[1].commit(task, 2, 0, b"\x01" * 32)),
        ("commits are open", lambda: moots[1].freeze(task, 1, 0, holdings(moots, task, 0b111))),
        ("not in this phase", lambda: moots[1].finalise(task, 1, 0, *OUTCOME, b"m" * 32, {})),
        ("before the deadline", lambda: moots[1].retry(task, 1, 0)),
        ("already granted", lambda: moots[1].grant(task, 2)),
        ("no such task", lambda: moots[1].round_view(task + 1)),
        ("has no task 9", lambda: moots[1].task(9)),
        ("has no dataset 9", lambda: moots[1].dataset(9)),
        ("not usable", lambda: Moot(chain, moots[0].address, Account.from_key(KEYS[4])).join(fields(4), VOUCHER)),
    ]
    for reason, call in refusals:
        with pytest.raises(LedgerRefused, match=reason):
            call()
    assert moots[0].head() == head + 1
    moots[1].commit(task, 1, 0, b"\x02" * 32)


def test_a_voted_voucher_admits_one_member(chain: Web3):
    moots = found(chain, 3, seats=3)
    late = Moot(chain, moots[0].address, Account.from_key(KEYS[5]))
    assert late.me() is None
    voucher = statements.address_of(NEWCOMER)
    decide(moots[:2], Kind.ADMIT, int(voucher, 16))
    assert moots[0].assembly.is_usable(voucher)
    late.join(fields(5), NEWCOMER)
    assert not moots[0].assembly.is_usable(voucher)
    assert late.me() == moots[0].members()[3]
    late.announce(["198.51.100.1:1", "[2001:db8::1]:2"])
    assert moots[0].members()[3].addresses == ("198.51.100.1:1", "[2001:db8::1]:2")
    late.announce([])
    assert moots[0].members()[3].addresses == ()


def test_what_a_member_wrote_is_shown_without_control_characters(chain: Web3):
    moots = found(chain, 1)
    rude = Moot(chain, moots[0].address, Account.from_key(KEYS[1]))
    rude.join(fields(1, name="\x1b[2Jowned\n", addresses=("a\x00b:1",)), VOUCHER)
    member = moots[0].members()[1]
    assert member.name == "\ufffd[2Jowned\ufffd"
    assert member.addresses == ("a\ufffdb:1",)


def test_text_and_lists_that_are_too_long_are_refused_before_anything_is_sent(chain: Web3):
    moots = found(chain, 1)
    other = Moot(chain, moots[0].address, Account.from_key(KEYS[1]))
    for name in ("", "ä" * 33):
        with pytest.raises(LedgerRefused, match="use 1 to 64"):
            other.join(fields(1, name=name), VOUCHER)
    with pytest.raises(LedgerRefused, match="512 in all"):
        moots[0].announce(["192.0.2.1:4433"] * 50)


def test_the_policy_of_a_task_binds_the_contract_as_it_is(chain: Web3):
    moots = found(chain, 3)
    task = moots[0].propose(b"\xb0" * 32, GENESIS, Policy(rounds=7, min_members=2, start_members=5, final_seconds=9))
    record = moots[0].task(task)
    assert (record.rounds, record.min_members, record.start_members, record.final_seconds) == (7, 2, 5, 9)


def test_a_view_without_a_key_reads_and_does_not_write(chain: Web3):
    moots = found(chain, 2)
    visitor = Moot(chain, moots[0].address)
    assert visitor.me() is None
    assert visitor.member_count() == 2
    with pytest.raises(LocalError, match="no key"):
        visitor.announce([])


def test_an_address_without_a_moot_is_named_as_the_likely_mistake(chain: Web3):
    nothing = Moot(chain, "0x" + "12" * 20)
    for read in (nothing.name, nothing.members, nothing.member_count, lambda: nothing.round_view(1)):
        with pytest.raises(ChainError, match="address"):
            read()


def test_a_nonce_used_by_another_process_is_found_out_and_the_call_still_goes_through(file: Path):
    moot = found(open_chain(str(file)), 1)[0]
    again = Moot(open_chain(str(file)), moot.address, Account.from_key(KEYS[0]))
    for count in range(1, 6, 2):
        assert moot.describe(b"\xcc" * 32, 1) == count
        assert again.describe(b"\xcc" * 32, 1) == count + 1


def test_a_node_that_is_not_there_is_a_chain_error():
    moot = Moot(Web3(HTTPProvider("http://127.0.0.1:9", exception_retry_configuration=None)), "0x" + "12" * 20)
    with pytest.raises(ChainError, match="cannot be reached"):
        moot.name()


def test_finals_are_read_again_from_the_start_when_a_remembered_block_has_moved(file: Path):
    moots = found(open_chain(str(file)), 4)
    task = start(moots)
    for round in (1, 2):
        finish_round(moots, task, bytes([round]) * 32)
    finals = moots[0].finals(task)
    # as after a reorganisation that put the same final into an earlier block
    moots[0]._seen[task, 2] = moots[0].head() + 1
    assert moots[0].finals(task, 2) == finals[1:]


def test_ledger_time_is_the_clock_of_the_embedded_chain_and_the_newest_block_elsewhere(chain: Web3, clock: Clock):
    moots = found(chain, 1)
    assert moots[0].now() == pytest.approx(clock(), abs=2)


def test_pages_are_put_together(chain: Web3):
    moots = found(chain, 1)
    for count in range(33):
        moots[0].describe(count.to_bytes(32, "big"), count)
    datasets = moots[0].datasets()
    assert [dataset.id for dataset in datasets] == list(range(1, 34))
    assert datasets[32].records == 32


# ---- what members decide, and their accounts


def test_motions_are_read_as_they_stand(chain: Web3, clock: Clock):
    moots = found(chain, 3)
    assembly = moots[0].assembly
    assert (assembly.rules(), assembly.motions()) == (Rules(), ())
    first = assembly.move(Kind.BOUND, 2, 1, reasons=b"\x0a" * 32)
    decide(moots, Kind.WEIGH, 2, 5)
    moots[1].assembly.vote(first, False)
    motion = assembly.motion(first)
    assert (motion.kind, motion.words, motion.text, motion.mover) == (Kind.BOUND, (2, 1, 0), b"\x0a" * 32, 0)
    assert (motion.ayes, motion.noes, motion.done, motion.passed) == (0b001, 0b010, False, False)
    assert motion.deadline == pytest.approx(clock() + Rules().window, abs=2)
    assert motion.state(clock()) == "open"
    moots[2].assembly.vote(first, True)
    assert assembly.motion(first).state(clock()) == "passed"
    assembly.enact(first)
    assert [each.state(clock()) for each in assembly.motions()] == ["enacted"] * 2
    assert (assembly.weight_of(2), moots[0].floor()) == (5, (2, True))
    with pytest.raises(LedgerRefused, match="already enacted"):
        assembly.enact(first)
    with pytest.raises(LedgerRefused, match="no motion 9"):
        assembly.motion(9)


def test_a_member_that_moves_without_end_makes_the_others_read_no_more(
    chain: Web3, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    moots = found(chain, 3)
    decide(moots, Kind.RULES, 50, 66, 10)
    pages: list[object] = []
    ask = Chain.call
    monkeypatch.setattr(Chain, "call", lambda self, to, data: pages.append(data) or ask(self, to, data))
    read = []
    for _ in range(6):
        flood = [moots[2].assembly.move(Kind.BOUND, 2, 0) for _ in range(8)]
        with pytest.raises(LedgerRefused, match="too many open motions of this member"):
            moots[2].assembly.move(Kind.BOUND, 2, 0)
        pages.clear()
        assert [each.id for each in moots[0].assembly.unsettled(clock())][-8:] == flood
        read.append(len(pages))
        clock.seconds += 20
    assert read == [1] * 6, "a page each time, though there are more than one by now"
    assert moots[0].assembly.unsettled(clock()) == ()


def test_a_member_that_proposes_and_takes_back_without_end_makes_the_others_read_no_more(
    chain: Web3, monkeypatch: pytest.MonkeyPatch
):
    moots = found(chain, 3)
    kept = [moots[2].propose(b"\xb0" * 32, GENESIS, TERMS) for _ in range(8)]
    with pytest.raises(LedgerRefused, match="too many proposals of this member"):
        moots[2].propose(b"\xb0" * 32, GENESIS, TERMS)
    pages: list[object] = []
    ask = Chain.call
    monkeypatch.setattr(Chain, "call", lambda self, to, data: pages.append(data) or ask(self, to, data))
    for id in kept:
        moots[2].withdraw(id)
    for _ in range(2):
        for _ in range(32):
            moots[2].withdraw(moots[2].propose(b"\xb0" * 32, GENESIS, TERMS))
        moots[0].tasks()
        pages.clear()
        assert len(moots[0].tasks()) % 32 == 8
        assert len(pages) == 1, "the page that is not full"


def test_a_member_works_day_by_day_with_an_account_that_cannot_consent(chain: Web3):
    moots = found(chain, 3)
    task = start(moots)
    before = moots[0].head()
    moots[2].assembly.delegate(Account.from_key(KEYS[5]), fields(5))
    daily = Moot(chain, moots[0].address, Account.from_key(KEYS[5]))
    me = daily.me()
    assert me is not None
    assert (me.index, me.address, me.main) == (2, statements.address_of(KEYS[5]), statements.address_of(KEYS[2]))
    daily.commit(task, 1, 0, b"\x02" * 32)
    with pytest.raises(LedgerRefused, match="only the main account may"):
        daily.grant(task, 3)
    last = moots[0].seats_log()[-1]
    assert last == Seated(2, me.address, me.main, last.block)
    assert last.block > before


def test_removed_members_are_still_told_of_and_do_not_live(chain: Web3):
    moots = found(chain, 3)
    decide(moots, Kind.REMOVE, 1)
    assert [member.living for member in moots[0].members()] == [True, False, True]
    assert (moots[0].living(), moots[0].member_count(), moots[1].me()) == (0b101, 2, None)


def test_a_joint_commit_is_read_like_single_ones(chain: Web3):
    moots = found(chain, 4)
    task = start(moots)
    hashes = {number: bytes([7, number]) * 16 for number in (0, 2)}
    moots[1].commit(task, 1, 0, b"\x01" * 32)
    digests = {n: statements.commit_digest(moots[0].domain, task, 1, 0, each) for n, each in hashes.items()}
    signed = {n: (hashes[n], statements.sign(KEYS[n], digest)) for n, digest in digests.items()}
    moots[3].commit_all(task, 1, 0, signed)
    view = moots[0].round_view(task)
    assert (view.committed, view.commits) == (0b111, (hashes[0], b"\x01" * 32, hashes[2]))
    assert [(commit.member, commit.hash) for commit in moots[0].commits_log(task)] == [
        (1, b"\x01" * 32),
        (0, hashes[0]),
        (2, hashes[2]),
    ]


@pytest.mark.parametrize("committed", [False, True])
def test_a_stopped_task_is_read_as_done_with_nothing_under_way(chain: Web3, committed: bool):
    moots = found(chain, 3)
    task = start(moots) if committed else moots[0].propose(b"\xb0" * 32, GENESIS, TERMS)
    if committed:
        moots[0].commit(task, 1, 0, b"\x01" * 32)
    decide(moots, Kind.STEER, task, Standing.STOPPED)
    view = moots[0].round_view(task)
    assert (view.phase, view.round, view.committed, view.commits, view.survivors) == (Phase.DONE, 0, 0, (), 0)
    assert moots[0].task(task).standing == Standing.STOPPED


def test_a_moot_that_has_moved_lets_its_last_round_end_and_is_read_afterwards(chain: Web3):
    moots = found(chain, 4)
    task = start(moots)
    waiting = moots[0].propose(b"\xb1" * 32, GENESIS, TERMS)
    decide(moots, Kind.STEER, waiting, Standing.ADOPTED)
    decide(moots, Kind.RETIRE, 1, int("77" * 20, 16), 5)
    assert moots[0].retired()
    finish_round(moots, task, b"\x01" * 32)
    for number, moot in enumerate(moots[:3], 1):
        moot.grant(waiting, number)
    for id, round in ((task, 1), (waiting, 0)):
        view = moots[0].round_view(id)
        assert (view.phase, view.round, view.committed, view.survivors) == (Phase.DONE, round, 0, 0)
    assert [final.model for final in moots[0].finals(task)] == [b"\x01" * 32]
