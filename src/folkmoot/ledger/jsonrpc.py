"""Ethereum's JSON-RPC methods on a Replica: the hex and the field names of the Ethereum execution API."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from folkmoot.errors import FolkmootError, LedgerRefused
from folkmoot.keccak import keccak
from folkmoot.ledger.address import checksum_address
from folkmoot.ledger.chainfile import Block
from folkmoot.ledger.evm import ZERO, Log, Reverted
from folkmoot.ledger.replica import FoundLog, Replica
from folkmoot.ledger.transaction import GAS_LIMIT, Transaction

__all__ = ["respond"]

_NO_HASH = "0x" + "00" * 32
_NO_UNCLES = "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347"
_REVERTED, _FAILED, _BAD_PARAMETERS, _UNKNOWN_METHOD = 3, -32000, -32602, -32601


class _RequestError(Exception):
    """A request that cannot be answered, with its JSON-RPC error code."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code


def respond(chain: Replica, method: str, parameters: Sequence[Any]) -> dict[str, Any]:
    """The response to one request: ``result``, or ``error`` with code and message."""
    try:
        return {"result": _answer(chain, method, parameters)}
    except _RequestError as error:
        return {"error": {"code": error.code, "message": str(error)}}
    except FolkmootError as error:
        return {"error": _error_of(error)}


def _answer(chain: Replica, method: str, parameters: Sequence[Any]) -> Any:
    handler = _METHODS.get(method)
    if handler is None:
        raise _RequestError(_UNKNOWN_METHOD, f"the embedded chain does not answer {method}")
    try:
        return handler(chain, *parameters)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError) as error:
        raise _RequestError(_BAD_PARAMETERS, f"{method}: bad parameters: {error}") from error


def _error_of(error: FolkmootError) -> dict[str, Any]:
    if isinstance(error, Reverted):
        found: dict[str, Any] = {"code": _REVERTED, "message": f"execution reverted: {error}"}
        return {**found, "data": "0x" + error.data.hex()} if error.data else found
    kind = "" if isinstance(error, LedgerRefused) else "chain error: "
    return {"code": _FAILED, "message": kind + str(error)}


def _block_number(chain: Replica) -> str:
    return hex(chain.head())


def _get_block(chain: Replica, number: int | None, full: bool) -> dict[str, Any] | None:
    block = None if number is None else chain.block(number)
    if block is None:
        return None
    parent = chain.block(block.number - 1)
    transactions = [chain.transaction(block)] if block.number else []
    record = chain.record(block.number) if block.number else None
    return {
        "number": hex(block.number),
        "hash": _hex(block.hash),
        "parentHash": _hex(parent.hash) if parent else _NO_HASH,
        "timestamp": hex(block.timestamp),
        "transactions": [_transaction(t, block) if full else _hex(t.hash) for t in transactions],
        "gasUsed": hex(record.gas if record else 0),
        "gasLimit": hex(GAS_LIMIT),
        "baseFeePerGas": "0x0",
        "size": hex(len(block.raw)),
        "logsBloom": _bloom(record.logs if record else ()),
        # What a chain of one SQLite file has no use for:
        "miner": ZERO,
        "difficulty": "0x0",
        "totalDifficulty": "0x0",
        "extraData": "0x",
        "mixHash": _NO_HASH,
        "nonce": "0x0000000000000000",
        "sha3Uncles": _NO_UNCLES,
        "uncles": [],
        "stateRoot": _NO_HASH,
        "transactionsRoot": _NO_HASH,
        "receiptsRoot": _NO_HASH,
    }


def _block_by_number(chain: Replica, tag: str, full: bool = False) -> dict[str, Any] | None:
    return _get_block(chain, _number(chain, tag), full)


def _block_by_hash(chain: Replica, wanted: str, full: bool = False) -> dict[str, Any] | None:
    number = chain.find(_data(wanted))
    block = None if number is None else chain.block(number)
    return _get_block(chain, number, full) if block and block.hash == _data(wanted) else None


def _find_transaction(chain: Replica, wanted: str) -> tuple[Transaction, Block] | None:
    number = chain.find(_data(wanted))
    block = chain.block(number) if number else None
    if block is None:
        return None
    transaction = chain.transaction(block)
    return (transaction, block) if transaction.hash == _data(wanted) else None


def _transaction_by_hash(chain: Replica, wanted: str) -> dict[str, Any] | None:
    found = _find_transaction(chain, wanted)
    return _transaction(*found) if found else None


def _transaction(transaction: Transaction, block: Block) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "hash": _hex(transaction.hash),
        "type": hex(transaction.kind),
        "nonce": hex(transaction.nonce),
        "blockHash": _hex(block.hash),
        "blockNumber": hex(block.number),
        "transactionIndex": "0x0",
        "from": checksum_address(transaction.sender),
        "to": checksum_address(transaction.to) if transaction.to else None,
        "value": "0x0",
        "gas": hex(transaction.gas),
        "gasPrice": "0x0",
        "input": _hex(transaction.data),
        "v": hex(transaction.v),
        "r": hex(transaction.r),
        "s": hex(transaction.s),
    }
    if transaction.kind == 2:
        fees = {"maxFeePerGas": transaction.max_fee, "maxPriorityFeePerGas": transaction.max_priority_fee}
        fields |= {name: hex(fee) for name, fee in fees.items()} | {"accessList": [], "yParity": hex(transaction.v)}
    return fields


def _receipt(chain: Replica, wanted: str) -> dict[str, Any] | None:
    found = _find_transaction(chain, wanted)
    if found is None:
        return None
    transaction, block = found
    record = chain.record(block.number)
    logs = [FoundLog(block.number, index, *log) for index, log in enumerate(record.logs)]
    return {
        "transactionHash": _hex(transaction.hash),
        "transactionIndex": "0x0",
        "blockHash": _hex(block.hash),
        "blockNumber": hex(block.number),
        "from": checksum_address(transaction.sender),
        "to": checksum_address(transaction.to) if transaction.to else None,
        "contractAddress": checksum_address(record.created) if record.created else None,
        "status": "0x1",  # a transaction that does not succeed is refused, never recorded
        "type": hex(transaction.kind),
        "gasUsed": hex(record.gas),
        "cumulativeGasUsed": hex(record.gas),
        "effectiveGasPrice": "0x0",
        "logs": [_log(log, block, transaction.hash) for log in logs],
        "logsBloom": _bloom(record.logs),
    }


def _get_logs(chain: Replica, query: dict[str, Any]) -> list[dict[str, Any]]:
    head = chain.head()
    if query.get("blockHash"):
        block = _block_by_hash(chain, query["blockHash"])
        if block is None:
            raise _RequestError(_FAILED, f"there is no block {query['blockHash']}")
        first = last = int(block["number"], 16)
    else:
        first, last = (_number(chain, query.get(bound) or "latest") for bound in ("fromBlock", "toBlock"))
    addresses = query.get("address")
    if isinstance(addresses, str):
        addresses = [addresses]
    topics = tuple(
        None if topic is None else frozenset(map(_data, [topic] if isinstance(topic, str) else topic))
        for topic in query.get("topics") or ()
    )
    wanted = frozenset(map(_data, addresses)) if addresses else None
    result: list[dict[str, Any]] = []
    for log in chain.logs(first, min(last, head), wanted, topics):
        block_of = chain.block(log.block)
        assert block_of is not None
        result.append(_log(log, block_of, keccak(block_of.raw)))
    return result


def _log(log: FoundLog, block: Block, transaction_hash: bytes) -> dict[str, Any]:
    return {
        "address": checksum_address(log.address),
        "topics": [_hex(topic) for topic in log.topics],
        "data": _hex(log.data),
        "blockNumber": hex(block.number),
        "blockHash": _hex(block.hash),
        "transactionHash": _hex(transaction_hash),
        "transactionIndex": "0x0",
        "logIndex": hex(log.index),
        "removed": False,
    }


def _call(chain: Replica, call: dict[str, Any], tag: Any = "latest", *_: Any) -> str:
    _newest(chain, tag)
    return _hex(_view(chain, call)[0])


def _estimate(chain: Replica, call: dict[str, Any], tag: Any = "latest", *_: Any) -> str:
    """The least gas limit the call succeeds with, found by halving: a contract may pass on only 63/64 of its gas."""
    _newest(chain, tag)
    enough = _view(chain, call)[1]
    if _succeeds(chain, call, enough):
        return hex(enough)
    short, enough = enough, GAS_LIMIT
    while enough - short > max(1, short // 1000):
        middle = (short + enough) // 2
        short, enough = (short, middle) if _succeeds(chain, call, middle) else (middle, enough)
    return hex(enough)


def _succeeds(chain: Replica, call: dict[str, Any], gas: int) -> bool:
    try:
        _view(chain, {**call, "gas": hex(gas)})
    except Reverted:
        return False
    return True


def _view(chain: Replica, call: dict[str, Any]) -> tuple[bytes, int]:
    if _quantity(call.get("value", 0)):
        raise _RequestError(_FAILED, "this chain has no coins: value must be 0")
    data = _data(call.get("data") or call.get("input") or "0x")
    gas = min(_quantity(call["gas"]), GAS_LIMIT) if call.get("gas") else GAS_LIMIT
    return chain.view(call.get("from") or ZERO, call.get("to") or None, data, gas)


def _fee_history(chain: Replica, count: Any, newest: str, percentiles: Iterable[float] = ()) -> dict[str, Any]:
    last = _number(chain, newest)
    first = max(0, last - max(1, min(_quantity(count), 1024)) + 1)
    used = [chain.record(n).gas / GAS_LIMIT if n else 0.0 for n in range(first, last + 1)]
    rewards = [["0x0" for _ in percentiles or ()] for _ in used]
    return {
        "oldestBlock": hex(first),
        "baseFeePerGas": ["0x0"] * (len(used) + 1),
        "gasUsedRatio": used,
        "reward": rewards,
    }


def _nonce(chain: Replica, address: str, tag: Any = "latest") -> str:
    _newest(chain, tag)
    return hex(chain.account(address)[0])


def _code(chain: Replica, address: str, tag: Any = "latest") -> str:
    _newest(chain, tag)
    return _hex(chain.account(address)[1])


def _storage(chain: Replica, address: str, slot: Any, tag: Any = "latest") -> str:
    _newest(chain, tag)
    return _hex(chain.storage(address, _quantity(slot)).to_bytes(32, "big"))


def _newest(chain: Replica, tag: Any) -> None:
    """Refuse a question about the state at an older block."""
    if isinstance(tag, dict):  # EIP-1898
        tag = tag.get("blockNumber") or _number_of_hash(chain, tag["blockHash"])
    if _number(chain, tag) != chain.number:
        raise _RequestError(_FAILED, f"the state at block {tag} is not kept; only the newest block's is")


def _number_of_hash(chain: Replica, wanted: str) -> str:
    number = chain.find(_data(wanted))
    if number is None:
        raise _RequestError(_FAILED, f"there is no block {wanted}")
    return hex(number)


def _number(chain: Replica, tag: Any) -> int:
    head = chain.head()
    if tag in (None, "latest", "pending", "safe", "finalized"):
        return head
    return 0 if tag == "earliest" else _quantity(tag)


def _quantity(value: Any) -> int:
    number = value if isinstance(value, int) else int(value, 16)
    if not 0 <= number < 2**256:
        raise ValueError(f"{number} is not a quantity")
    return number


def _data(value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytes) else bytes.fromhex(value.removeprefix("0x"))


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def _bloom(logs: Iterable[Log]) -> str:
    """The 2048-bit filter of the yellow paper, section 4.3.1, over addresses and topics."""
    bloom = 0
    for address, topics, _ in logs:
        for item in (address, *topics):
            digest = keccak(item)
            for at in (0, 2, 4):
                bloom |= 1 << (int.from_bytes(digest[at : at + 2], "big") & 2047)
    return _hex(bloom.to_bytes(256, "big"))


_METHODS: dict[str, Callable[..., Any]] = {
    "eth_blockNumber": _block_number,
    "eth_call": _call,
    "eth_chainId": lambda chain: hex(chain.meta.chain_id),
    "eth_estimateGas": _estimate,
    "eth_feeHistory": _fee_history,
    "eth_gasPrice": lambda chain: "0x0",
    "eth_getBalance": lambda chain, address, tag="latest": "0x0",
    "eth_getBlockByHash": _block_by_hash,
    "eth_getBlockByNumber": _block_by_number,
    "eth_getCode": _code,
    "eth_getLogs": _get_logs,
    "eth_getStorageAt": _storage,
    "eth_getTransactionByHash": _transaction_by_hash,
    "eth_getTransactionCount": _nonce,
    "eth_getTransactionReceipt": _receipt,
    "eth_maxPriorityFeePerGas": lambda chain: "0x0",
    "eth_sendRawTransaction": lambda chain, raw: _hex(chain.send(_data(raw))),
    "eth_syncing": lambda chain: False,
    "net_version": lambda chain: str(chain.meta.chain_id),
    "web3_clientVersion": lambda chain: "folkmoot-embedded/1",
}
