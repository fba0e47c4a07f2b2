"""How a moot's four contracts come onto a chain, and how one knows that they did so in no other way."""

from __future__ import annotations

from collections.abc import Sequence

from folkmoot.errors import ChainError
from folkmoot.ledger.abi import MOOT
from folkmoot.ledger.address import checksum_address, created_address
from folkmoot.ledger.assembly import ASSEMBLY, elders_hash, join_arguments
from folkmoot.ledger.chain import Chain
from folkmoot.ledger.interface import Interface
from folkmoot.ledger.motions import Rules
from folkmoot.ledger.purse import POINTS, PURSE, Purse
from folkmoot.ledger.records import JoinFields, MootRecord
from folkmoot.ledger.transact import Sender

__all__ = ["check", "deploy", "ran_its_constructor"]


def deploy(
    chain: Chain,
    sender: Sender,
    *,
    name: str,
    seats: int,
    voucher: str,
    founder: JoinFields,
    rules: Rules,
    heritage: bytes,
    elders: Sequence[str],
) -> str:
    """Deploy a moot, as ``Moot.deploy`` says; the address of its work.

    Raises ``ChainError`` where another process sends transactions of the founder's account meanwhile.
    """
    # each contract names the others: where they will be follows from the founder's account and its nonce
    nonce = int(chain.rpc("eth_getTransactionCount", sender.address, "pending"), 16)
    at = [created_address(sender.address, nonce + ahead) for ahead in range(4)]
    fixed = (name, seats, checksum_address(voucher), heritage, list(elders), at[2], list(rules.words))
    for what, where in (
        (MOOT.deploy(at[1]), at[0]),
        (ASSEMBLY.deploy(at[0], *fixed, *join_arguments(founder)), at[1]),
        (PURSE.deploy(at[0], at[1], at[3]), at[2]),
        (POINTS.deploy(at[2]), at[3]),
    ):
        receipt = sender.receipt(sender.send(None, what))
        if receipt.contract is None or checksum_address(receipt.contract) != where:
            raise ChainError("another process sent transactions of this account while it founded a moot; try again")
    return at[0]


def check(chain: Chain, moot: str, about: MootRecord, purse: Purse) -> None:
    """Raise ``ChainError`` where a contract of the moot is not the one that this package was built with, where they do
    not belong together, or where others can come in without a vote.

    Whoever gives a ticket chooses the contracts: such as look like a moot could decide anything.
    """
    for contract, address in (
        (MOOT, moot),
        (ASSEMBLY, about.assembly),
        (PURSE, purse.address),
        (POINTS, purse.points),
    ):
        if not contract.is_code(chain.code(address)) or not ran_its_constructor(chain, contract, address, about.born):
            raise ChainError(
                f"what stands at {address} is not the contract {contract.name} of this version; do not join: "
                "ask who gave you the ticket which version of folkmoot founded the moot"
            )
    minter = POINTS.fixed(chain.code(purse.points))[-20:]
    if purse.belongs_to != (moot, about.assembly) or checksum_address(minter) != purse.address:
        raise ChainError(f"the purse {purse.address}, or its points, is another moot's; do not join")
    if not any(about.heritage) and about.elders != elders_hash(()):
        raise ChainError("this moot lets in others without a vote, and continues none that they could be of")


def ran_its_constructor(chain: Chain, contract: Interface, address: str, born: int) -> bool:
    """Whether the contract at ``address`` was made by a transaction that ran its own constructor and nothing else: code
    alone does not tell, for what deploys it could have written anything into its storage.

    Each of them leaves an event there, the first that it ever has, in block ``born`` or later.
    """
    first = next(iter(chain.history([address], born)), None)
    made = first and chain.rpc("eth_getTransactionByHash", "0x" + first.transaction.hex())
    if not made or made["to"] or not contract.is_creation(bytes.fromhex(made["input"][2:])):
        return False
    return created_address(checksum_address(made["from"]), int(made["nonce"], 16)) == address
