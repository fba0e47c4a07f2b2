"""Many processes on one ledger file, some of them killed."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from small_chain import SmallChain, account

from folkmoot.errors import LedgerRefused
from folkmoot.ledger.chainverify import verify_chain
from folkmoot.ledger.embedded import EmbeddedProvider

SIGNERS = (1, 2, 3)

WRITER = """
import sys
from small_chain import Clock, account, GENESIS
from folkmoot.ledger.embedded import EmbeddedProvider

path, index, contract, calldata, count = sys.argv[1:]
signer = account(int(index))
provider = EmbeddedProvider(path, clock=Clock())
first = provider.replica.account(signer.address.lower())[0]
print("ready", flush=True)
for nonce in range(first, first + int(count)):
    # commit(nonce, word): the key is the nonce, so each of a signer's transactions succeeds once
    data = bytes.fromhex(calldata) + nonce.to_bytes(32, "big") + b"\\1" * 32
    raw = signer.sign_transaction({
        "chainId": 7, "nonce": nonce, "to": contract, "gas": 200_000, "maxFeePerGas": 0,
        "maxPriorityFeePerGas": 0, "value": 0, "data": data,
    }).raw_transaction
    sys.stdout.write(provider.send(bytes(raw)).hex() + "\\n")
    sys.stdout.flush()
print("head", provider.head(), flush=True)
"""


def writer(chain, index, count):
    """Start a process that appends ``count`` transactions of account ``index`` and prints each one's hash."""
    selector = chain.calldata("commit", 0, bytes(32))[:4].hex()
    command = [sys.executable, "-c", WRITER, str(chain.path), str(index), chain.contract.address, selector, str(count)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_processes_that_append_at_once_lose_nothing_and_agree(tmp_path):
    chain = SmallChain(tmp_path / "ledger")
    processes = [writer(chain, index, 200) for index in SIGNERS]
    for process in processes:
        assert "head" in process.communicate(timeout=120)[0]
        assert process.returncode == 0
    assert chain.provider.head() == 1 + 3 * 200
    assert chain.contract.functions.count().call() == 600
    for index in SIGNERS:
        assert chain.w3.eth.get_transaction_count(account(index).address) == 200
    replayed = EmbeddedProvider(chain.path, trust_cache=False, clock=chain.clock)
    cached = EmbeddedProvider(chain.path, clock=chain.clock)
    assert replayed.replica.newest == cached.replica.newest == chain.provider.replica.newest
    for provider in (replayed, cached):
        provider.close()
    chain.provider.close()
    assert verify_chain(chain.path).blocks == 601


def kill_writers(chain, rounds, rng):
    """Kill writers at random moments; the hashes of all that they said was appended."""
    acknowledged = []
    for _ in range(rounds):
        processes = [writer(chain, index, 100_000) for index in (1, 2)]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            for _ in range(rng.randrange(1, 120)):
                acknowledged.append(process.stdout.readline().strip())
        for process in processes:
            process.send_signal(signal.SIGKILL)
        for process in processes:
            with process.stdout as output:
                acknowledged += [line.strip() for line in output if line.endswith("\n")]
            process.wait()
    return acknowledged


def check_nothing_lost(chain, acknowledged):
    replayed = EmbeddedProvider(chain.path, trust_cache=False, clock=chain.clock)
    assert chain.provider.head() == replayed.head() >= len(acknowledged) + 1
    assert all(replayed.replica.find(bytes.fromhex(wanted)) for wanted in acknowledged)
    report = verify_chain(chain.path)
    assert report.head == chain.provider.replica.newest.hash
    chain.commit(1, 1)
    assert EmbeddedProvider(chain.path, clock=chain.clock).head() == chain.provider.head()


def test_killed_writers_lose_nothing_acknowledged_and_corrupt_nothing(tmp_path):
    chain = SmallChain(tmp_path / "ledger")
    acknowledged = kill_writers(chain, 2, random.Random(5))
    assert len(acknowledged) > 10
    check_nothing_lost(chain, acknowledged)


@pytest.mark.long
def test_fifty_rounds_of_killed_writers_lose_nothing(tmp_path):
    chain = SmallChain(tmp_path / "ledger")
    check_nothing_lost(chain, kill_writers(chain, 50, random.Random(6)))


def test_a_transaction_is_taken_once_whoever_sends_it(tmp_path):
    chain = SmallChain(tmp_path / "ledger")
    raw = chain.raw(1, "commit", 1, b"\x01" * 32)
    other = EmbeddedProvider(chain.path, clock=chain.clock)
    chain.provider.send(raw)
    with pytest.raises(LedgerRefused, match=r"nonce 1 .* is used"):
        other.send(raw)
    assert other.head() == 2
