"""The ledger: the moot's contract, its typed client, and the chains it can stand on.

What the members agree on stands here: who they are, what may be trained on which data, every model they made.
``Moot`` is the client of one contract (``Moot.vy``), ``open_chain`` finds what it stands on, ``records`` are the values
it gives, ``statements`` what members sign for it.

Each name is imported when it is first used: who reads a record needs no chain, and ``EmbeddedProvider`` takes web3.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from folkmoot.ledger.chain import Chain, open_chain
    from folkmoot.ledger.chainfile import create_chain
    from folkmoot.ledger.chainverify import ChainReport, verify_chain
    from folkmoot.ledger.embedded import EmbeddedProvider
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

_HOMES = {
    "chain": ("Chain", "open_chain"),
    "chainfile": ("create_chain",),
    "chainverify": ("ChainReport", "verify_chain"),
    "embedded": ("EmbeddedProvider",),
    "moot": ("Moot",),
    "records": (
        *("Commit", "Dataset", "Final", "JoinFields", "Member", "MootRecord", "Phase", "PolicyTerms", "RoundView"),
        *("TaskRecord", "faults", "members_of", "quorum"),
    ),
    "signer": ("Signer",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

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
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"folkmoot.ledger.{_HOME[name]}"), name)
    globals()[name] = value
    return value
