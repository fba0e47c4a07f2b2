# pragma version 0.4.3
# pragma evm-version london
"""
@title Points
@license Apache-2.0
@notice A moot's own units for rewards, an ERC-20 (EIP-20). Its purse makes them when the members decide so, and
        nobody else can. They are whole numbers: there are no decimals.
"""

from ethereum.ercs import IERC20
from ethereum.ercs import IERC20Detailed

implements: IERC20
implements: IERC20Detailed

PURSE: immutable(address)

name: public(constant(String[25])) = "Folkmoot points"
symbol: public(constant(String[5])) = "POINT"
decimals: public(constant(uint8)) = 0

totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])


@deploy
def __init__(purse: address):
    """
    @param purse The contract that can make points.
    """
    PURSE = purse
    log IERC20.Transfer(sender=empty(address), receiver=purse, value=0)


@external
def transfer(to: address, amount: uint256) -> bool:
    """
    @notice Give points away.
    @param to Who gets them.
    @param amount How many of the sender's.
    @return True.
    """
    self._move(msg.sender, to, amount)
    return True


@external
def approve(spender: address, amount: uint256) -> bool:
    """
    @notice Let another account spend points of the sender's.
    @param spender The account.
    @param amount At most how many, from now on.
    @return True.
    """
    self.allowance[msg.sender][spender] = amount
    log IERC20.Approval(owner=msg.sender, spender=spender, value=amount)
    return True


@external
def transferFrom(owner: address, to: address, amount: uint256) -> bool:
    """
    @notice Spend points that another account has let the sender spend.
    @param owner Whose they are.
    @param to Who gets them.
    @param amount How many.
    @return True.
    """
    self.allowance[owner][msg.sender] -= amount
    self._move(owner, to, amount)
    return True


@external
def mint(amount: uint256):
    """
    @notice Make points, into the purse.
    @param amount How many.
    """
    assert msg.sender == PURSE, "only the purse makes points"
    self.totalSupply += amount
    self.balanceOf[PURSE] += amount
    log IERC20.Transfer(sender=empty(address), receiver=PURSE, value=amount)


@internal
def _move(owner: address, to: address, amount: uint256):
    assert to != empty(address), "receiver is empty"
    self.balanceOf[owner] -= amount
    self.balanceOf[to] += amount
    log IERC20.Transfer(sender=owner, receiver=to, value=amount)
