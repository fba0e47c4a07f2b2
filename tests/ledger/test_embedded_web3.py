import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_chain import GENESIS, SmallChain, account
from web3.exceptions import BlockNotFound, ContractLogicError, TransactionNotFound, Web3RPCError

from folkmoot.errors import ChainError, LedgerRefused
from folkmoot.ledger import jsonrpc
from folkmoot.ledger.chain import open_chain
from folkmoot.ledger.chainfile import create_chain
from folkmoot.ledger.embedded import EmbeddedProvider


@pytest.fixture
def chain(tmp_path):
    return SmallChain(tmp_path / "ledger")


def test_a_contract_is_deployed_called_and_read_with_plain_web3(chain):
    call = chain.contract.functions.commit(5, b"\x07" * 32)
    built = call.build_transaction({"from": chain.account.address})
    receipt = chain.w3.eth.wait_for_transaction_receipt(chain.send(built))
    assert (receipt["status"], receipt["blockNumber"]) == (1, 2)
    assert built["gas"] >= receipt["gasUsed"] > 21_000
    assert chain.contract.functions.count().call() == 1
    assert chain.contract.functions.values(chain.account.address, 5).call() == b"\x07" * 32
    (event,) = chain.contract.events.Committed().process_receipt(receipt)
    assert event["args"] == {"who": chain.account.address, "number": 1, "word": b"\x07" * 32}


def test_events_are_found_by_block_address_and_topic(chain):
    chain.commit(1, 3)
    chain.provider.send(chain.raw(0, "commit", 1, b"\x01" * 32, signer=account(1)))
    events = chain.contract.events.Committed()
    numbers = [event["args"]["number"] for event in events.get_logs(from_block=0)]
    assert numbers == [1, 2, 3, 4]
    theirs = events.get_logs(from_block=0, argument_filters={"who": account(1).address})
    assert [event["blockNumber"] for event in theirs] == [5]
    either = events.get_logs(from_block=0, argument_filters={"number": [2, 4]})
    assert [event["args"]["number"] for event in either] == [2, 4]
    assert len(events.get_logs(from_block=3, to_block=4)) == 2
    assert len(events.get_logs(block_hash=chain.w3.eth.get_block(3)["hash"])) == 1
    assert chain.w3.eth.get_logs({"fromBlock": 0, "address": account(9).address}) == []


def test_blocks_and_transactions_are_found_by_number_and_hash(chain):
    chain.clock.now = GENESIS + 9.7
    raw = chain.raw(1, "commit", 1, b"\x01" * 32)
    found = chain.provider.send(raw)
    block = chain.w3.eth.get_block("latest", full_transactions=True)
    assert (block["number"], block["timestamp"]) == (2, GENESIS + 9)
    assert block["parentHash"] == chain.w3.eth.get_block(1)["hash"]
    assert chain.w3.eth.get_block(block["hash"])["number"] == 2
    assert block["transactions"][0]["hash"] == found
    transaction = chain.w3.eth.get_transaction(found)
    assert transaction["from"] == chain.account.address
    assert transaction["input"] == chain.calldata("commit", 1, b"\x01" * 32)
    assert chain.w3.eth.get_block("earliest")["timestamp"] == GENESIS
    with pytest.raises(BlockNotFound):
        chain.w3.eth.get_block(3)
    with pytest.raises(TransactionNotFound):
        chain.w3.eth.get_transaction(b"\x05" * 32)


def test_the_bloom_filter_of_a_block_has_the_bits_of_its_events(chain):
    chain.commit(1, 1)
    bloom = chain.w3.eth.get_block(2)["logsBloom"]
    # 4 items (address, signature, two indexed arguments) of 3 bits each, some of which may coincide.
    assert 9 <= int.from_bytes(bloom, "big").bit_count() <= 12


def test_the_small_questions_have_answers(chain):
    eth = chain.w3.eth
    assert chain.w3.is_connected()
    assert (eth.chain_id, chain.w3.net.version) == (7, "7")
    assert (eth.gas_price, eth.max_priority_fee, eth.get_balance(chain.account.address)) == (0, 0, 0)
    assert eth.get_transaction_count(chain.account.address) == 1
    assert eth.get_code(account(5).address) == b""
    assert len(eth.get_code(chain.contract.address)) > 100
    assert eth.get_storage_at(chain.contract.address, 0) == bytes(32)
    assert eth.fee_history(2, "latest", [50])["baseFeePerGas"] == [0, 0, 0]
    assert "folkmoot" in chain.w3.client_version


def test_a_call_runs_as_the_next_block_at_ledger_time_now(chain):
    chain.clock.now = GENESIS + 100.5
    number, timestamp, chain_id, randomness, origin = chain.contract.functions.surroundings().call(
        {"from": account(3).address}
    )
    assert (number, timestamp, chain_id, randomness) == (2, GENESIS + 100, 7, bytes(32))
    assert origin == account(3).address


def test_the_state_of_an_older_block_is_refused_not_guessed(chain):
    chain.commit(1, 1)
    with pytest.raises(Web3RPCError, match="state at block 0x1 is not kept"):
        chain.contract.functions.count().call(block_identifier=1)
    assert chain.contract.functions.count().call(block_identifier=2) == 1


def test_a_revert_carries_its_reason_by_every_way_in(chain):
    chain.commit(1, 1)
    again = chain.contract.functions.commit(1, b"\x01" * 32)
    with pytest.raises(ContractLogicError, match="execution reverted: committed already"):
        again.call({"from": chain.account.address})
    with pytest.raises(ContractLogicError, match="committed already"):
        again.estimate_gas({"from": chain.account.address})
    with pytest.raises(Web3RPCError, match="committed already") as refusal:
        chain.w3.eth.send_raw_transaction(chain.raw(2, "commit", 1, b"\x01" * 32))
    error = refusal.value.rpc_response["error"]
    assert error["code"] == 3
    assert bytes.fromhex(error["data"][2:])[68:85] == b"committed already"
    with pytest.raises(LedgerRefused, match=r"^committed already$"):
        chain.provider.send(chain.raw(2, "commit", 1, b"\x01" * 32))
    with pytest.raises(LedgerRefused, match="reverted without a reason"):
        chain.provider.call(chain.contract.address, b"\x12\x34\x56\x78")


def test_a_refused_transaction_leaves_no_trace(chain):
    before = chain.w3.eth.get_block("latest")["hash"]
    with pytest.raises(LedgerRefused, match="out of gas"):
        chain.provider.send(chain.raw(1, "spin", 10_000))
    assert chain.provider.head() == 1
    chain.commit(1, 1)
    assert chain.w3.eth.get_block(2)["parentHash"] == before


def test_the_estimate_of_gas_is_enough_and_not_much_more(chain):
    chain.commit(1, 1)
    for function in ("commit", "clear"):  # clear is refunded part of its gas, yet needs all of it first
        nonce = chain.w3.eth.get_transaction_count(chain.account.address)
        arguments = (9, b"\x09" * 32) if function == "commit" else (1,)
        call = chain.contract.functions[function](*arguments)
        estimate = call.estimate_gas({"from": chain.account.address})
        with pytest.raises(LedgerRefused):
            chain.provider.send(chain.raw(nonce, function, *arguments, gas=estimate * 99 // 100))
        chain.provider.send(chain.raw(nonce, function, *arguments, gas=estimate))


def test_transient_storage_ends_with_its_transaction(chain):
    chain.provider.send(chain.raw(1, "once"))
    chain.provider.send(chain.raw(2, "once"))
    chain.contract.functions.once().call()


def test_what_a_call_touched_does_not_change_what_a_transaction_costs(tmp_path):
    used = []
    for calls in (0, 3):
        chain = SmallChain(tmp_path / f"ledger{calls}")
        for _ in range(calls):
            chain.contract.functions.count().call()
            chain.contract.functions.commit(1, b"\x01" * 32).call()
        chain.commit(1, 2)
        used.append([chain.w3.eth.get_block(number)["gasUsed"] for number in (1, 2, 3)])
    assert used[0] == used[1]


def test_contracts_may_make_contracts(chain):
    chain.provider.send(chain.raw(1, "make", chain.contract.address, gas=5_000_000))
    made = chain.contract.functions.make(chain.contract.address).call({"gas": 5_000_000})
    again = EmbeddedProvider(chain.path, trust_cache=False, clock=chain.clock)
    assert again.replica.account(chain.contract.address) == chain.provider.replica.account(chain.contract.address)
    assert chain.w3.eth.get_code(made) == b""


def test_an_unknown_method_is_a_json_rpc_error(chain):
    response = chain.provider.make_request("eth_mine", [])
    assert response["error"]["code"] == -32601
    response = chain.provider.make_request("eth_getBlockByNumber", ["nonsense", False])
    assert response["error"]["code"] == -32602


PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 2**260),
    st.text(max_size=8),
    st.sampled_from(["latest", "0x0", "0x", "0x" + "11" * 20, "0x" + "22" * 32, "-0x5", "0x" + "f" * 80]),
)
KEYS = ["from", "to", "data", "gas", "value", "fromBlock", "toBlock", "topics", "address", "blockHash", "blockNumber"]
PARAMETER = st.recursive(
    PLAIN,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner)),
    max_leaves=5,
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=st.sampled_from(sorted(jsonrpc._METHODS)), parameters=st.lists(PARAMETER, max_size=4))
def test_any_request_at_all_gets_an_answer_and_does_no_harm(chain, method, parameters):
    response = chain.provider.make_request(method, parameters)
    assert ("result" in response) != ("error" in response)
    assert chain.contract.functions.count().call() == 0


def test_a_transaction_that_cannot_even_start_is_refused(chain):
    with pytest.raises(LedgerRefused, match=r"cannot run: .*gas"):
        chain.provider.send(chain.raw(1, "commit", 1, b"\x01" * 32, gas=1000))
    with pytest.raises(LedgerRefused, match="the contract stopped"):
        chain.provider.send(chain.raw(1, "once", to="", data=b"\xfe"))
    chain.commit(1, 1)
    assert chain.contract.functions.count().call() == 1


def test_an_interrupt_at_any_moment_of_an_append_leaves_the_chain_whole(chain, monkeypatch):
    replica = chain.provider.replica
    for nonce, (part, name) in enumerate([("_machine", "apply"), ("_history", "add")], start=1):
        with monkeypatch.context() as patch:
            patch.setattr(type(getattr(replica, part)), name, interrupt)
            with pytest.raises(KeyboardInterrupt):
                chain.commit(nonce, 1)
        assert chain.provider.head() == nonce + 1
        assert chain.contract.functions.count().call() == nonce
    chain.commit(3, 2)
    assert EmbeddedProvider(chain.path, trust_cache=False, clock=chain.clock).head() == chain.provider.head() == 5


def interrupt(*_):
    raise KeyboardInterrupt


def test_a_chain_is_opened_by_path_or_url(tmp_path):
    path = tmp_path / "a ledger #1?"
    assert create_chain(path, genesis_time=GENESIS) > 2**50
    assert open_chain(str(path)).head() == 0
    found = open_chain(f"sqlite:{path}")
    assert int(found.rpc("eth_getBlockByNumber", "0x0", False)["timestamp"], 16) == GENESIS
    assert found.embedded
    assert not open_chain("http://127.0.0.1:1/").embedded
    with pytest.raises(ChainError, match="a chain is a file"):
        open_chain("ftp://example.org/ledger")


def test_what_is_not_a_ledger_file_is_refused_by_name(tmp_path):
    with pytest.raises(ChainError, match=r"no ledger file at .*missing"):
        open_chain(str(tmp_path / "missing"))
    (tmp_path / "text").write_text("hello " * 1000)
    with pytest.raises(ChainError, match="text cannot be used as a ledger file"):
        open_chain(str(tmp_path / "text"))
    with sqlite3.connect(tmp_path / "other") as other:
        other.execute("CREATE TABLE t (x)")
    with pytest.raises(ChainError, match="not a Folkmoot ledger"):
        open_chain(str(tmp_path / "other"))


def test_a_chain_is_never_written_over(tmp_path):
    create_chain(tmp_path / "ledger", genesis_time=GENESIS)
    with pytest.raises(ChainError, match="exists already"):
        create_chain(tmp_path / "ledger", genesis_time=GENESIS)
    assert [path.name for path in tmp_path.iterdir()] == ["ledger"]


def test_ledger_time_is_the_clock_and_never_goes_back(chain):
    chain.clock.now = GENESIS + 50.5
    assert chain.provider.now() == GENESIS + 50.5
    chain.commit(1, 1)
    chain.clock.now = GENESIS + 40
    assert chain.provider.now() == GENESIS + 50
    chain.commit(2, 1)
    assert chain.w3.eth.get_block(3)["timestamp"] == GENESIS + 50


def test_a_block_far_ahead_of_the_readers_clock_is_refused(chain):
    chain.clock.now = GENESIS + 100
    chain.commit(1, 1)
    with pytest.raises(ChainError, match=r"block 2 claims a time 20 s ahead"):
        EmbeddedProvider(chain.path, clock=lambda: GENESIS + 80)
    assert EmbeddedProvider(chain.path, clock=lambda: GENESIS + 90).head() == 2
