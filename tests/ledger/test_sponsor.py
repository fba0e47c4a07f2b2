"""A newcomer without coins, on a chain that charges for transactions."""

import pytest
from anvil import anvil

from folkmoot.errors import ChainError
from folkmoot.ledger import JoinFields, Moot, Signer, open_chain, statements

VOUCHER = b"\x77" * 32


def fields(number: int) -> JoinFields:
    mark = bytes([number + 1])
    return JoinFields(f"member {number}", mark * 32, b"\xee" + mark * 31, b"b" * 64)


def test_a_newcomer_without_coins_is_told_so_and_joins_once_a_member_has_given_it_some() -> None:
    rich, poor = Signer(b"\x11" * 32), Signer(b"\x12" * 32)
    with anvil(mining=True) as node:
        node.fund(rich.address)
        chain = open_chain(node.url)
        voucher = statements.address_of(VOUCHER)
        moot = Moot.deploy(chain, rich, name="m", seats=2, voucher=voucher, founder=fields(0))
        newcomer = Moot(chain, moot.address, poor)
        with pytest.raises(ChainError, match=f"{poor.address} has no coins"):
            newcomer.join(fields(1), VOUCHER)
        moot.sponsor(poor.address, 10**17)
        newcomer.join(fields(1), VOUCHER)
        assert moot.member_count() == 2
