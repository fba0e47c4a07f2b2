"""A process that is stopped, as by Ctrl-Z, beside others on the same ledger file."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from small_chain import SmallChain, account

from folkmoot.errors import ChainBusy
from folkmoot.ledger.embedded import EmbeddedProvider

STOPS = """
import os, signal, sys
from small_chain import Clock
from folkmoot.ledger import evm
from folkmoot.ledger.embedded import EmbeddedProvider

path, where, raw = sys.argv[1:]
replica = EmbeddedProvider(path, clock=Clock()).replica
if where == "computing":
    run = evm.Machine.run
    def stops(machine, *args):
        evm.Machine.run = run
        os.kill(os.getpid(), signal.SIGSTOP)
        return run(machine, *args)
    evm.Machine.run = stops
else:
    append = replica._file.append
    def stops(block):
        os.kill(os.getpid(), signal.SIGSTOP)
        append(block)
    replica._file.append = stops
replica.send(bytes.fromhex(raw))
"""


def transaction(chain: SmallChain, index: int, key: int) -> bytes:
    signer = account(index)
    fields = {
        "chainId": 7,
        "nonce": chain.w3.eth.get_transaction_count(signer.address),
        "to": chain.contract.address,
        "gas": 200_000,
        "maxFeePerGas": 0,
        "maxPriorityFeePerGas": 0,
        "value": 0,
        "data": chain.calldata("commit", key, b"\1" * 32),
    }
    return bytes(signer.sign_transaction(fields).raw_transaction)


@contextmanager
def stopped(chain: SmallChain, where: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that stopped while it was sending a transaction."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    raw = transaction(chain, 2, 1).hex()
    process = subprocess.Popen([sys.executable, "-c", STOPS, str(chain.path), where, raw], env=environment)
    try:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_process_that_is_stopped_while_it_computes_holds_up_nobody_and_its_block_comes_later(tmp_path: Path) -> None:
    chain = SmallChain(tmp_path / "ledger")
    with stopped(chain, "computing") as process:
        chain.provider.send(transaction(chain, 1, 1))
        assert chain.contract.functions.count().call() == 1
        os.kill(process.pid, signal.SIGCONT)
        assert process.wait(60) == 0
    assert chain.contract.functions.count().call() == 2


def test_a_process_that_is_stopped_while_it_appends_is_named_and_all_can_be_read_meanwhile(tmp_path: Path) -> None:
    chain = SmallChain(tmp_path / "ledger")
    with stopped(chain, "appending") as process:
        late = EmbeddedProvider(chain.path, clock=chain.clock)  # opening it, too, only reads
        late.replica.wait_at_most(0.05)
        assert late.head() == chain.provider.head() == 1
        assert chain.contract.functions.count().call() == 0
        with pytest.raises(ChainBusy) as caught:
            late.send(transaction(chain, 1, 1))
        if Path("/proc/locks").exists():
            assert f"held by process {process.pid} (" in str(caught.value)
            assert f"which is stopped: let it go on (kill -CONT {process.pid})" in str(caught.value)
        os.kill(process.pid, signal.SIGCONT)
        assert process.wait(60) == 0
        late.send(transaction(chain, 1, 1))
    assert chain.contract.functions.count().call() == 2


def test_a_stopped_process_that_is_ended_instead_leaves_nothing_half_done(tmp_path: Path) -> None:
    chain = SmallChain(tmp_path / "ledger")
    with stopped(chain, "appending"):
        pass
    chain.provider.send(transaction(chain, 1, 1))
    assert chain.contract.functions.count().call() == 1
