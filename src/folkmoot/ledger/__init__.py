"""The ledger: the moot's contract, its typed client, and the chains it can stand on.

What the members agree on stands here: who they are, what may be trained on which data, every model they made.
``Moot`` is the client of one contract (``Moot.vy``), ``records`` the values it gives, ``statements`` what members sign
for it.
"""

from folkmoot.ledger.chainfile import create_chain
from folkmoot.ledger.chainverify import ChainReport, verify_chain
from folkmoot.ledger.embedded import EmbeddedProvider, open_chain
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

__all__ = [
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
    "TaskRecord",
    "create_chain",
    "faults",
    "members_of",
    "open_chain",
    "quorum",
    "verify_chain",
]
