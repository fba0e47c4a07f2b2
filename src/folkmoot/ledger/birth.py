"""In which block a contract was made, by the numbers that the chain's own nodes give their blocks.

A contract sees ``block.number``, and on some chains that is another chain's: on Arbitrum it is about that of Ethereum,
which runs far behind the nodes' own. Events are asked for by the nodes' numbers.
"""

from __future__ import annotations

from folkmoot.errors import ChainError
from folkmoot.ledger.chain import Chain, Disagreement

__all__ = ["birth_of"]


def birth_of(chain: Chain, address: str, topic: bytes, told: int) -> int:
    """The block in which the contract at ``address`` was made, which says itself that it was ``told``.

    ``topic`` is that of an event that its constructor leaves. Where the nodes' block of that number has it, the numbers
    are the same. Else the first block with its code is found by halving. Nodes that have forgotten the state of old
    blocks cannot say, and then any block may hold its events: 0.
    """
    if chain.embedded or (told <= chain.head() and chain.logs_in(address, [topic], told)):
        return told
    before, made = -1, chain.head()
    try:
        while made - before > 1:
            middle = (before + made) // 2
            if chain.code_at(address, middle):
                made = middle
            else:
                before = middle
    except Disagreement:
        raise
    except ChainError:
        return 0
    return made if chain.logs_in(address, [topic], made) else 0
