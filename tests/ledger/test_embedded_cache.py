import os
import random
import shutil
import sqlite3

import pytest
from small_chain import SmallChain, account

from folkmoot.errors import ChainError, IntegrityError, LedgerRefused
from folkmoot.ledger import history
from folkmoot.ledger.embedded import EmbeddedProvider

SPAN = 20


@pytest.fixture(autouse=True)
def small_segments(monkeypatch):
    """Seal every 20 blocks, so that a few dozen transactions make several segments."""
    monkeypatch.setattr(history, "SPAN", SPAN)
    monkeypatch.setattr("folkmoot.ledger.replica.SPAN", SPAN)


@pytest.fixture
def chain(tmp_path):
    """Three sealed segments and a tail: commits, some cleared again, contracts that make contracts."""
    chain = SmallChain(tmp_path / "ledger")
    chain.commit(1, 30)
    for nonce in range(31, 41):
        chain.provider.send(chain.raw(nonce, "clear", nonce - 20))
    chain.provider.send(chain.raw(41, "make", chain.contract.address, gas=5_000_000))
    chain.commit(42, 26)
    return chain


def cache_files(chain):
    return sorted((chain.path.parent / "ledger.cache").iterdir())


def everything(provider, chain):
    """All that a client can see: blocks, gas, logs, storage, accounts, and what the next transaction would do."""
    replica = provider.replica
    sender = chain.account.address
    words = [provider.call(chain.contract.address, chain.calldata("values", sender, key)) for key in range(70)]
    rest = [
        provider.head(),
        [replica.block(number) for number in range(70)],
        [replica.record(number) for number in range(1, 69)],
        list(replica.logs(0, 68)),
        words,
        replica.account(sender.lower()),
        replica.account(chain.contract.address.lower()),
        replica.view(sender, chain.contract.address, chain.calldata("commit", 500, b"\x01" * 32)),
        replica.view(sender, chain.contract.address, chain.calldata("make", chain.contract.address)),
    ]
    return rest


def reopened(chain, **arguments):
    return EmbeddedProvider(chain.path, clock=chain.clock, **arguments)


def test_opening_from_the_cache_equals_replaying_from_the_genesis(chain):
    lived = everything(chain.provider, chain)
    assert len(cache_files(chain)) == 9
    assert everything(reopened(chain), chain) == lived
    assert everything(reopened(chain, trust_cache=False), chain) == lived
    shutil.rmtree(chain.path.parent / "ledger.cache")
    assert everything(reopened(chain), chain) == lived


def test_the_cache_is_used_and_says_so_by_not_looking_at_old_blocks(chain):
    """Corrupt an old transaction: whoever trusts the cache goes on, whoever replays finds it."""
    with sqlite3.connect(chain.path) as database:
        database.execute("UPDATE blocks SET raw = x'02' WHERE number = 5")
    assert reopened(chain).head() == 68
    with pytest.raises(IntegrityError, match="block 5: hash does not follow from block 4"):
        reopened(chain, trust_cache=False)


def test_a_damaged_cache_file_is_ignored_and_mended(chain):
    lived = everything(chain.provider, chain)
    rng = random.Random(1)
    for path in cache_files(chain):
        good = path.read_bytes()
        for _ in range(3):
            bad = bytearray(good)
            bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
            path.write_bytes(bad)
            assert everything(reopened(chain), chain) == lived
            assert path.read_bytes() == good
        path.write_bytes(b"")
        assert everything(reopened(chain), chain) == lived
        path.unlink()
        assert everything(reopened(chain), chain) == lived


def test_records_lost_while_the_chain_is_open_are_made_again(chain):
    lived = list(chain.provider.replica.logs(0, 68))
    provider = reopened(chain)
    shutil.rmtree(chain.path.parent / "ledger.cache")
    assert list(provider.replica.logs(0, 68)) == lived
    provider.replica.record(1)
    assert provider.replica.find(provider.replica.block(3).hash) == 3


def test_another_chains_cache_is_ignored(chain, tmp_path):
    other = SmallChain(tmp_path / "other")
    other.provider.send(other.raw(1, "clear", 1))
    other.commit(2, 60)
    shutil.rmtree(tmp_path / "ledger.cache")
    shutil.copytree(tmp_path / "other.cache", tmp_path / "ledger.cache")
    assert everything(reopened(chain), chain) == everything(chain.provider, chain)


def test_the_cache_of_a_longer_chain_is_ignored(chain):
    """A ledger file put back from a backup is shorter than its cache."""
    from folkmoot.ledger.chainverify import copy_chain

    backup = chain.path.with_name("backup")
    copy_chain(chain.path, backup)
    chain.commit(68, 40)
    shutil.copytree(chain.path.with_name("ledger.cache"), backup.with_name("backup.cache"))
    assert EmbeddedProvider(backup, clock=chain.clock).head() == 68


def test_a_cache_that_cannot_be_written_stays_in_memory(tmp_path):
    (tmp_path / "ledger.cache").write_text("a file where the directory should be")
    chain = SmallChain(tmp_path / "ledger")
    chain.commit(1, 50)
    assert len(list(chain.provider.replica.logs(0, 51))) == 50
    assert chain.provider.replica.find(chain.provider.replica.block(3).hash) == 3
    assert reopened(chain).head() == 51


def test_hashes_are_found_in_sealed_segments(chain):
    provider = reopened(chain)
    for number in (0, 1, 20, 21, 60, 61, 68):
        assert provider.replica.find(provider.replica.block(number).hash) == number
    for number in (1, 20, 68):
        transaction = chain.w3.eth.get_block(number)["transactions"][0]
        assert provider.replica.find(bytes(transaction)) == number
    assert provider.replica.find(bytes(32)) is None


def test_half_written_cache_files_of_killed_processes_are_swept(chain):
    draft = chain.path.parent / "ledger.cache" / "00000009.state.1-aa.draft"
    draft.write_bytes(b"half")
    reopened(chain)
    assert draft.exists()  # it may be another process's, in the writing
    os.utime(draft, (0, 0))
    reopened(chain)
    assert not draft.exists()


def test_an_untrusting_reader_leaves_the_cache_alone(chain):
    before = {path.name: path.read_bytes() for path in cache_files(chain)}
    shutil.rmtree(chain.path.parent / "ledger.cache")
    provider = reopened(chain, trust_cache=False)
    provider.close()
    assert not (chain.path.parent / "ledger.cache").exists()
    assert len(before) == 9


def test_a_full_disk_is_a_clear_error_and_costs_nothing(chain):
    database = chain.provider.replica._file._database
    pages = database.execute("PRAGMA page_count").fetchone()[0]
    database.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(ChainError, match="the disk is full; nothing was appended"):
        chain.commit(68, 100)
    database.execute(f"PRAGMA max_page_count={2**31 - 2}")
    nonce = chain.w3.eth.get_transaction_count(chain.account.address)
    chain.commit(nonce, 5)
    assert reopened(chain, trust_cache=False).head() == nonce + 5


def test_what_others_append_is_followed(chain):
    follower = reopened(chain)
    chain.commit(68, 3)
    assert follower.head() == 71
    with pytest.raises(LedgerRefused, match=r"nonce 70 .* is used; the next is 71"):
        follower.send(chain.raw(70, "commit", 900, b"\x01" * 32))
    with pytest.raises(LedgerRefused, match=r"nonce 72 .* leaves a gap; the next is 71"):
        follower.send(chain.raw(72, "commit", 900, b"\x01" * 32))
    follower.send(chain.raw(0, "commit", 1, b"\x01" * 32, signer=account(1)))
    assert chain.provider.head() == 72
    assert chain.provider.replica.newest == follower.replica.newest


def test_a_row_that_does_not_replay_is_named(chain):
    from folkmoot.ledger.chainfile import make_block

    newest = chain.provider.replica.newest
    forged = make_block(newest.hash, 69, newest.timestamp, chain.raw(68, "commit", 3, b"\x01" * 32))
    follower = reopened(chain)
    with sqlite3.connect(chain.path) as database:
        row = (forged.number, forged.timestamp, forged.raw, forged.hash)
        database.execute("INSERT INTO blocks VALUES (?, ?, ?, ?)", row)
    with pytest.raises(IntegrityError, match="transaction 69 does not replay: committed already"):
        follower.head()
    assert follower.replica.number == 68


def test_what_old_blocks_did_is_kept_in_memory_up_to_a_bound(chain, monkeypatch):
    chain.commit(68, 60)
    provider = reopened(chain)
    past = provider.replica._history
    sizes = [past._size(segment) for segment in range(past._segments)]
    monkeypatch.setattr(history, "_BYTES_IN_MEMORY", sum(sizes[:3]))
    told = [provider.replica.record(number) for number in range(1, provider.head() + 1)]
    assert sum(size for _, size in past._loaded.values()) <= sum(sizes[:3]) < sum(sizes)
    assert told == [chain.provider.replica.record(number) for number in range(1, provider.head() + 1)]
