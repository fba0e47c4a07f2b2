import random
import shutil
import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_chain import GENESIS, SmallChain

from folkmoot.errors import ChainError, IntegrityError
from folkmoot.ledger import chainfile
from folkmoot.ledger.chainfile import create_chain
from folkmoot.ledger.chainverify import copy_chain, verify_chain

BLOCKS = 61


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """The bytes of a real ledger file that two SQLite releases wrote, and the file's folder."""
    folder = tmp_path_factory.mktemp("verify")
    chain = SmallChain(folder / "ledger")
    chain.commit(1, 30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chainfile, "_release", lambda: 3_099_009)
        chain.commit(31, 30)
    copy_chain(folder / "ledger", folder / "copy")
    data = bytearray((folder / "copy").read_bytes())
    # What the other release would have left in the header, if it had been the last to write it.
    if int.from_bytes(data[96:100], "big") != 3_099_009:
        data[96:100] = (3_099_009).to_bytes(4, "big")
    (folder / "copy").write_bytes(data)
    return folder / "copy"


def test_a_copy_of_the_ledger_file_holds(ledger):
    before = ledger.read_bytes()
    report = verify_chain(ledger)
    assert (report.chain_id, report.blocks, report.time) == (7, BLOCKS, GENESIS)
    assert ledger.read_bytes() == before
    assert not ledger.with_name("copy-wal").exists()


def fails(path, data):
    path.write_bytes(data)
    try:
        report = verify_chain(path)
    except IntegrityError as error:
        return str(error)
    raise AssertionError(f"it holds all the same: {report}")


def test_every_changed_byte_of_the_header_and_hundreds_of_others_is_found_and_named(ledger, tmp_path):
    good = ledger.read_bytes()
    rng = random.Random(7)
    for at in [*range(100), *rng.sample(range(100, len(good)), 250)]:
        bad = bytearray(good)
        bad[at] ^= rng.randrange(1, 256)
        message = fails(tmp_path / "bad", bytes(bad))
        assert any(word in message for word in ("byte", "block", "transaction", "page", "chain", "table")), message
        assert str(tmp_path) not in message


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 2**32), change=st.integers(1, 255))
def test_any_changed_byte_is_found(ledger, tmp_path, at, change):
    bad = bytearray(ledger.read_bytes())
    bad[at % len(bad)] ^= change
    fails(tmp_path / "bad", bytes(bad))


def test_every_bit_of_the_fields_that_sqlite_keeps_to_itself_counts(ledger, tmp_path):
    good = ledger.read_bytes()
    for at in (*range(24, 28), *range(92, 100)):
        for bit in range(8):
            bad = bytearray(good)
            bad[at] ^= 1 << bit
            assert fails(tmp_path / "bad", bytes(bad)).startswith(f"byte {at} of the ledger file")


def test_a_file_cut_short_or_grown_is_found(ledger, tmp_path):
    good = ledger.read_bytes()
    assert "byte" in fails(tmp_path / "bad", good + b"\x00")
    assert "byte" in fails(tmp_path / "bad", good + bytes(4096))
    fails(tmp_path / "bad", good[:-1])
    fails(tmp_path / "bad", good[:-4096])
    fails(tmp_path / "bad", good[:50])
    fails(tmp_path / "bad", b"")


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        (
            "UPDATE blocks SET raw = CAST(raw || x'00' AS BLOB) WHERE number = 17",
            "block 17: hash does not follow from block 16",
        ),
        ("UPDATE blocks SET timestamp = timestamp + 1 WHERE number = 9", "block 9: hash does not follow"),
        ("DELETE FROM blocks WHERE number = 12", "block 12 is missing"),
        ("INSERT INTO blocks VALUES (-4, 0, x'', x'')", "byte"),
        ("UPDATE meta SET chain_id = 8", "chain 8, but its genesis hash"),
        ("INSERT INTO meta SELECT * FROM meta", "does not say which chain"),
        ("UPDATE writers SET sqlite = 3040000 WHERE block = 0", "table writers"),
        ("DELETE FROM writers WHERE block = 0", "table writers"),
        ("CREATE TABLE extra (x)", "byte 43"),
        ("VACUUM", "byte"),
    ],
)
def test_what_sqlite_itself_was_made_to_change_is_found(ledger, tmp_path, statement, complaint):
    path = tmp_path / "ledger"
    shutil.copyfile(ledger, path)
    database = sqlite3.connect(path, isolation_level=None)
    database.execute(statement)
    database.close()
    with pytest.raises(IntegrityError, match=complaint):
        verify_chain(path)


def test_a_history_rewritten_with_true_hashes_still_does_not_replay(tmp_path):
    chain = SmallChain(tmp_path / "ledger")
    chain.commit(1, 2)
    newest = chain.provider.replica.newest
    stolen = chainfile.make_block(newest.hash, 4, newest.timestamp, chain.raw(4, "commit", 9, b"\x01" * 32))
    with chain.provider.replica._file.appending():
        chain.provider.replica._file.append(stolen)
    with pytest.raises(IntegrityError, match=r"transaction 4 does not replay: nonce 4 .* leaves a gap"):
        verify_chain(chain.path)


def test_a_ledger_in_use_is_verified_with_its_wal(tmp_path):
    chain = SmallChain(tmp_path / "ledger")
    chain.commit(1, 40)
    wal = tmp_path / "ledger-wal"
    assert wal.stat().st_size > 0
    before = (chain.path.read_bytes(), wal.read_bytes())
    assert verify_chain(chain.path).blocks == 41
    assert (chain.path.read_bytes(), wal.read_bytes()) == before


def test_damage_to_a_wal_is_found_before_its_last_frame(tmp_path):
    chain = SmallChain(tmp_path / "ledger")
    chain.commit(1, 20)
    copy, wal = tmp_path / "copy", (tmp_path / "ledger-wal").read_bytes()
    shutil.copyfile(chain.path, copy)
    rng = random.Random(3)
    for at in [*range(12), *range(16, 56), *rng.sample(range(56, len(wal) - 24 - 4096), 60)]:
        bad = bytearray(wal)
        bad[at] ^= 1 << rng.randrange(8)
        copy.with_name("copy-wal").write_bytes(bad)
        with pytest.raises(IntegrityError, match="of the WAL"):
            verify_chain(copy)
    for at in (12, 15):  # the checkpoint's number, under the header's checksum like all else
        bad = bytearray(wal)
        bad[at] ^= 1
        copy.with_name("copy-wal").write_bytes(bad)
        with pytest.raises(IntegrityError, match="of the WAL"):
            verify_chain(copy)


def test_a_chain_without_transactions_holds(tmp_path):
    create_chain(tmp_path / "ledger", chain_id=9, genesis_time=GENESIS)
    assert verify_chain(tmp_path / "ledger").blocks == 0


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(ChainError, match="there is no ledger file"):
        verify_chain(tmp_path / "nothing")


def test_copies_are_whole_while_others_append_and_never_overwrite(tmp_path):
    chain = SmallChain(tmp_path / "ledger")
    chain.commit(1, 10)
    copy_chain(chain.path, tmp_path / "copy")
    assert verify_chain(tmp_path / "copy").blocks == 11
    chain.commit(11, 1)
    with pytest.raises(ChainError, match="exists already"):
        copy_chain(chain.path, tmp_path / "copy")
