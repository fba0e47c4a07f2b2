"""A copy of a hosted chain takes what follows and nothing else, and goes on where the members' appointment says."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st
from small_chain import GENESIS, SmallChain

from folkmoot.errors import ChainError, IntegrityError, LedgerRefused
from folkmoot.ledger.chainfile import create_chain, genesis_hash, make_block
from folkmoot.ledger.chainverify import verify_chain
from folkmoot.ledger.hostbook import Hostbook, Trouble
from folkmoot.ledger.hosted import HostedReplica, cut
from folkmoot.ledger.hosting import Appointment, Head, HostUrl, is_hosted, knock_digest, sign_head
from folkmoot.ledger.replica import AHEAD_SECONDS, Replica
from folkmoot.ledger.statements import Domain, address_of, sign

HOST, OTHER = b"\x01" * 32, b"\x02" * 32
KEYS = [bytes([0] * 31 + [n]) for n in range(1, 6)]
MEMBERS = [address_of(key) for key in KEYS]
DOMAIN = Domain(7, "0x" + "ab" * 20)


def refuse(raw: bytes) -> None:
    raise ChainError("nobody carries anything here")


def copy_in(folder: Path, me: bytes = OTHER, carry: Callable[[bytes], None] = refuse, **more: Any) -> HostedReplica:
    """A copy of the small chain, with nothing in it yet, of a member that does not host it."""
    if not (folder / "ledger.sqlite").exists():
        folder.mkdir(exist_ok=True)
        create_chain(folder / "ledger.sqlite", chain_id=7, genesis_time=GENESIS)
    return HostedReplica(Hostbook(folder, HOST), me, carry, **more)


@pytest.fixture
def chain(tmp_path: Path) -> SmallChain:
    """The host's, with eleven blocks."""
    made = SmallChain(tmp_path / "host.sqlite")
    made.commit(1, 10)
    return made


def give(chain: SmallChain, copy: Replica, last: int | None = None) -> None:
    replica = chain.provider.replica
    for number in range(copy.head() + 1, (last or replica.head()) + 1):
        block = replica.block(number)
        assert block is not None
        copy.take(block)


def appoint(height: int, block: bytes, signers: list[bytes], *, endpoint: bytes = OTHER, term: int = 1) -> Appointment:
    bare = Appointment(term, height, block, endpoint)
    digest = bare.digest(DOMAIN)
    return Appointment(term, height, block, endpoint, tuple(sign(key, digest) for key in signers))


# ---- the URL ---------------------------------------------------------------------------------------------------


@given(
    st.binary(min_size=32, max_size=32), st.lists(st.sampled_from(["10.0.0.1:1", "[::1]:9", "https://r/"]), min_size=1)
)
def test_a_host_s_url_survives_being_written_and_read(endpoint: bytes, addresses: list[str]) -> None:
    url = HostUrl(endpoint, tuple(addresses[:16]))
    assert HostUrl.parse(str(url)) == url
    assert is_hosted(str(url))
    assert HostUrl(endpoint, ("127.0.0.1:1", "[::1]:9")).is_local
    assert not HostUrl(endpoint, ("127.0.0.1:1", "10.0.0.1:1")).is_local


@pytest.mark.parametrize(
    "text", ["host:", "host:12@1.2.3.4:5", "host:" + "ab" * 32, "host:" + "ab" * 32 + "@", "/a/file"]
)
def test_what_is_no_host_s_url_is_refused_in_words(text: str) -> None:
    with pytest.raises(ChainError, match="64 hex digits"):
        HostUrl.parse(text)


# ---- what is signed --------------------------------------------------------------------------------------------


def test_the_host_s_word_on_a_block_holds_for_that_block_of_that_chain_and_term_only() -> None:
    key = Ed25519PrivateKey.from_private_bytes(HOST)
    host = key.public_key().public_bytes_raw()
    head = sign_head(key, b"\x05" * 32, 3, 17, b"\x06" * 32)
    head.check(b"\x05" * 32, host)
    for changed in (
        Head(4, 17, head.block, head.signature),
        Head(3, 18, head.block, head.signature),
        Head(3, 17, b"\x07" * 32, head.signature),
        Head(3, 17, head.block, bytes(64)),
    ):
        with pytest.raises(IntegrityError, match="not signed by the host"):
            changed.check(b"\x05" * 32, host)
    for chain, endpoint in ((b"\x08" * 32, host), (b"\x05" * 32, OTHER)):
        with pytest.raises(IntegrityError, match="not signed by the host"):
            head.check(chain, endpoint)


def test_the_formats_of_what_is_signed_do_not_move() -> None:
    head = sign_head(Ed25519PrivateKey.from_private_bytes(HOST), b"\x05" * 32, 3, 17, b"\x06" * 32)
    assert head.signature.hex() == GOLDEN_HEAD
    assert Appointment(2, 9, b"\x03" * 32, b"\x04" * 32).digest(DOMAIN).hex() == GOLDEN_HOSTING
    assert knock_digest(b"\xab" * 20, HOST, OTHER).hex() == GOLDEN_KNOCK


def test_the_members_statement_is_eip_712() -> None:
    typed = {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            "Hosting": [
                {"name": "height", "type": "uint256"},
                {"name": "block", "type": "bytes32"},
                {"name": "endpoint", "type": "bytes32"},
                {"name": "term", "type": "uint256"},
            ],
        },
        "primaryType": "Hosting",
        "domain": {"name": "Folkmoot", "version": "1", "chainId": 7, "verifyingContract": DOMAIN.contract},
        "message": {"height": 9, "block": b"\x03" * 32, "endpoint": b"\x04" * 32, "term": 2},
    }
    signed = Account.sign_message(encode_typed_data(full_message=typed), KEYS[0])
    assert bytes(signed.signature) == sign(KEYS[0], Appointment(2, 9, b"\x03" * 32, b"\x04" * 32).digest(DOMAIN))


@given(st.lists(st.integers(0, 4), max_size=12), st.integers(1, 5))
def test_an_appointment_holds_with_more_than_half_of_the_members_each_counted_once(votes: list[int], size: int) -> None:
    appointment = appoint(3, bytes(32), [KEYS[n] for n in votes])
    voters = {n for n in votes if n < size}
    assert appointment.is_carried_by(DOMAIN, MEMBERS[:size]) == (2 * len(voters) > size)


def test_a_vote_for_another_block_host_term_or_chain_does_not_count() -> None:
    good = appoint(3, b"\x03" * 32, KEYS[:3])
    assert good.is_carried_by(DOMAIN, MEMBERS)
    for changed in (
        Appointment(2, 3, good.block, OTHER, good.signatures),
        Appointment(1, 4, good.block, OTHER, good.signatures),
        Appointment(1, 3, b"\x04" * 32, OTHER, good.signatures),
        Appointment(1, 3, good.block, HOST, good.signatures),
    ):
        assert not changed.is_carried_by(DOMAIN, MEMBERS)
    assert not good.is_carried_by(Domain(8, DOMAIN.contract), MEMBERS)
    with pytest.raises(IntegrityError):
        Appointment(1, 3, good.block, OTHER, (*good.signatures, bytes(65))).is_carried_by(DOMAIN, MEMBERS)


# ---- a copy ----------------------------------------------------------------------------------------------------


def test_a_copy_is_the_host_s_chain_and_its_file_holds_to_the_last_byte(chain: SmallChain, tmp_path: Path) -> None:
    copy = copy_in(tmp_path / "copy")
    give(chain, copy)
    assert copy.newest == chain.provider.replica.newest
    call = chain.calldata("count")
    assert copy.call(chain.contract.address, call) == chain.provider.call(chain.contract.address, call)
    assert not copy.take(copy.newest)  # what is here already is no news
    assert verify_chain(copy.path).blocks == 11


def test_a_copy_refuses_what_does_not_follow(chain: SmallChain, tmp_path: Path) -> None:
    copy = copy_in(tmp_path / "copy", clock=chain.clock)
    give(chain, copy, 5)
    newest, true = copy.newest, chain.provider.replica.block(6)
    assert true is not None
    late = GENESIS + AHEAD_SECONDS + 1
    for block, why in (
        (make_block(newest.hash, 6, newest.timestamp, chain.raw(9, "commit", 9, bytes(32))), "leaves a gap"),
        (make_block(newest.hash, 6, newest.timestamp, chain.raw(3, "commit", 9, bytes(32))), "is used"),
        (make_block(newest.hash, 6, newest.timestamp, true.raw[:-1] + b"\x00"), "does not replay"),
        (make_block(newest.hash, 6, newest.timestamp - 1, true.raw), "its time is before"),
        (make_block(bytes(32), 6, newest.timestamp, true.raw), "hash does not follow"),
        (chain.provider.replica.block(7), "is missing|hash does not follow"),
        (make_block(newest.hash, 5, newest.timestamp, true.raw), "is another one here"),
    ):
        assert block is not None
        with pytest.raises(IntegrityError, match=why):
            copy.take(block)
    with pytest.raises(ChainError, match="ahead of this machine's clock"):
        copy.take(make_block(newest.hash, 6, late, true.raw))
    give(chain, copy)
    assert copy.number == 11
    assert verify_chain(copy.path).blocks == 11


def test_only_the_host_appends_the_others_have_theirs_carried(chain: SmallChain, tmp_path: Path) -> None:
    carried = []

    def carry(raw: bytes) -> None:
        carried.append(raw)
        chain.provider.send(raw)
        give(chain, copy)

    copy = copy_in(tmp_path / "copy", carry=carry, clock=chain.clock)
    give(chain, copy)
    raw = chain.raw(11, "commit", 11, b"\x01" * 32)
    with pytest.raises(ChainError, match="another member hosts the chain"):
        copy.append(raw)
    assert copy.send(raw) == chain.provider.replica.transaction(chain.provider.replica.newest).hash
    assert carried == [raw]
    assert copy.number == 12
    with pytest.raises(LedgerRefused, match=r"malformed|not RLP|list"):
        copy.send(b"\xc1")
    host = copy_in(tmp_path / "copy", me=HOST, clock=chain.clock)
    host.send(chain.raw(12, "commit", 12, b"\x01" * 32))
    assert copy.head() == 13


def test_a_host_that_was_caught_or_is_being_replaced_takes_nothing_more(chain: SmallChain, tmp_path: Path) -> None:
    host = copy_in(tmp_path / "copy", me=HOST, clock=chain.clock)
    give(chain, host)
    raw = chain.raw(11, "commit", 11, b"\x01" * 32)
    elsewhere = Hostbook(tmp_path / "copy", HOST)  # another process of the same home
    elsewhere.change(held=True)
    with pytest.raises(ChainError, match="moving to another host"):
        host.send(raw)
    elsewhere.change(held=False, trouble=Trouble(term=0, words="the host anna lied", heads=()))
    with pytest.raises(ChainError, match="the host anna lied"):
        host.send(raw)
    elsewhere.change(trouble=None)
    elsewhere.keep([Head(0, 12, b"\x01" * 32, bytes(64))])  # said by another peer: it signed that before
    with pytest.raises(ChainError, match="has signed a block 12 that is not here"):
        host.send(raw)
    elsewhere.appoint(appoint(11, host.newest.hash, KEYS, endpoint=HOST), "ledger.sqlite")
    host.send(raw)


# ---- another host ----------------------------------------------------------------------------------------------


def test_blocks_of_a_host_that_was_given_up_go_and_every_open_copy_follows(chain: SmallChain, tmp_path: Path) -> None:
    copy, reader = copy_in(tmp_path / "copy", clock=chain.clock), copy_in(tmp_path / "copy", clock=chain.clock)
    give(chain, copy)
    assert reader.head() == 11
    fixed = copy.block(8)
    assert fixed is not None
    ledger = tmp_path / "copy" / "ledger-1.sqlite"
    cut(copy, 8, ledger)
    copy.install(appoint(8, fixed.hash, KEYS[:3]), ledger)
    for each in (copy, reader, copy_in(tmp_path / "copy", clock=chain.clock)):
        assert each.head() == 8
        assert each.hosting
        assert each.find(chain.provider.replica.newest.hash) is None
    copy.send(chain.raw(8, "commit", 99, b"\x01" * 32))  # the nonce of what was given up
    assert reader.head() == 9
    assert verify_chain(ledger).blocks == 9
    assert verify_chain(tmp_path / "copy" / "ledger.sqlite").blocks == 11  # the old file stays, as evidence


def test_a_chain_is_cut_with_the_caches_of_its_whole_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("history", "replica", "hosted"):
        monkeypatch.setattr(f"folkmoot.ledger.{module}.SPAN", 4)
    chain = SmallChain(tmp_path / "ledger.sqlite")
    chain.commit(1, 12)
    cut(chain.provider.replica, 10, tmp_path / "part.sqlite")
    assert (
        sorted(path.name[:8] for path in (tmp_path / "part.sqlite.cache").iterdir())
        == ["00000000"] * 3 + ["00000001"] * 3
    )
    part = Replica(tmp_path / "part.sqlite", clock=chain.clock)
    assert part.number == 10
    assert part.newest == chain.provider.replica.block(10)
    cut(chain.provider.replica, 3, tmp_path / "part.sqlite")  # over what was left
    assert Replica(tmp_path / "part.sqlite", clock=chain.clock).number == 3


# ---- the book --------------------------------------------------------------------------------------------------


def test_the_host_s_first_word_on_a_block_stays_until_another_hosts(tmp_path: Path) -> None:
    book = Hostbook(tmp_path, HOST)
    first, second = Head(0, 5, b"\x01" * 32, bytes(64)), Head(0, 5, b"\x02" * 32, bytes(64))
    book.keep([first])
    book.keep([second])
    assert book.head(5) == first
    book.keep([second], anew=True)
    assert book.head(5) == second
    book.appoint(appoint(4, bytes(32), KEYS), "ledger.sqlite")
    assert book.head(5) is None
    later = Head(1, 5, b"\x03" * 32, bytes(64))
    book.keep([later])
    book.keep([first])
    assert book.head(5) == later


def test_what_is_in_the_book_is_there_for_every_process_and_after_a_restart(tmp_path: Path) -> None:
    book = Hostbook(tmp_path, HOST)
    assert (book.host, book.term, book.floor) == (HOST, 0, 0)
    other = Hostbook(tmp_path, HOST)
    assert not other.refresh()
    book.change(wish=OTHER, voted=(3, b"\x04" * 32))
    assert other.refresh()
    assert other.state.wish == OTHER
    other.appoint(appoint(4, bytes(32), KEYS), "ledger-1.sqlite")
    assert book.refresh()
    again = Hostbook(tmp_path, HOST)
    for each in (book, again):
        assert (each.host, each.term, each.floor, each.ledger.name) == (OTHER, 1, 4, "ledger-1.sqlite")
        assert each.state.wish == b""  # fulfilled
        assert each.state.voted == (3, b"\x04" * 32)


def vote_and_die(folder: str) -> None:
    import os
    import signal

    Hostbook(Path(folder), HOST).change(voted=(5, b"\x05" * 32))
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_vote_is_not_forgotten_by_a_killed_process(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=vote_and_die, args=(str(tmp_path),))
    process.start()
    process.join()
    assert Hostbook(tmp_path, HOST).state.voted == (5, b"\x05" * 32)


def test_the_genesis_names_the_chain_that_a_host_signs_for(tmp_path: Path) -> None:
    copy = copy_in(tmp_path / "copy")
    assert copy.block(0) is not None
    assert copy.newest.hash == genesis_hash(copy.meta)


GOLDEN_HEAD = (
    "33879c927426ea593764cae706cd8ae04a3fb9aa068fd98b5558ea2fb83168fb"
    "d09de62267adaefe0671d4ee6b41c515f5954621d7b91491f5ae6f2a6e25cd01"
)
GOLDEN_HOSTING = "d67a51fe5c183ce41b327c61240d4e47851242b534bc3e4bfe2897627c95f4c1"
GOLDEN_KNOCK = "898129077c33647a483362857931ec53321c868e9ab6e3692f6e2e5d64f9b7e6"
