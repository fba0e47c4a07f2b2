"""The ledger: the moot's contract, its typed client, and the chains it can stand on.

What the members agree on stands here: who they are, what may be trained on which data, every model they made.
``Moot`` is the client of one contract (``Moot.vy``), ``open_chain`` finds what it stands on, ``records`` are the values
it gives, ``statements`` what members sign for it.
"""

from typing import TYPE_CHECKING

from folkmoot.ledger.chain import Chain, open_chain
from folkmoot.ledger.chainfile import create_chain
from folkmoot.ledger.chainverify import ChainReport, verify_chain
from folkmoot.ledger.moot import Moot
from folkmoot.ledger.records import (
    Commit,
    Dataset,
    Final,
    JoinFields,
    Member,
    MootRecord,
    Phase,
    PolicyTerms,
    RoundView,
    TaskRecord,
    faults,
    members_of,
    quorum,
)
from folkmoot.ledger.signer import Signer

if TYPE_CHECKING:
    from folkmoot.ledger.embedded import EmbeddedProvider

__all__ = [
    "Chain",
    "ChainReport",
    "Commit",
    "Dataset",
    "EmbeddedProvider",
    "Final",
    "JoinFields",
    "Member",
    "Moot",
    "MootRecord",
    "Phase",
    "PolicyTerms",
    "RoundView",
    "Signer",
    "TaskRecord",
    "create_chain",
    "faults",
    "members_of",
    "open_chain",
    "quorum",
    "verify_chain",
]


def __getattr__(name: str) -> object:
    """Import web3 for who wants a ``Web3`` on the embedded chain, and for nobody else: it takes a second."""
    if name != "EmbeddedProvider":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from folkmoot.ledger.embedded import EmbeddedProvider

    return EmbeddedProvider
