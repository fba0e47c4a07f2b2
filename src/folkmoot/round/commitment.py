"""What a member binds itself to before anything is shown, and what a round's inputs add up to.

keccak-256 throughout, so that a contract can check each of them as evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eth_hash.auto import keccak

from folkmoot.digest import Hash

__all__ = ["commit_hash", "contribution_root", "inputs_root"]


def contribution_root(shards: Sequence[Hash]) -> Hash:
    """The hash that names a whole contribution: keccak-256 over its shards' blob hashes in order."""
    return keccak(b"".join(shards))


def commit_hash(salt: bytes, address: bytes, task: int, round: int, attempt: int, root: Hash) -> Hash:
    """The salted hash a member puts on the ledger before it reveals its contribution.

    ``salt`` is 32 random bytes, ``address`` the 20 bytes of the sender, so that a copied commit is worthless to
    anyone else. ``root`` is the ``contribution_root``. Raises ``ValueError`` on other lengths.
    """
    if len(salt) != 32 or len(address) != 20 or len(root) != 32:
        raise ValueError("a commit takes 32 bytes of salt, a 20-byte address and a 32-byte root")
    numbers = b"".join(n.to_bytes(32, "big") for n in (task, round, attempt))
    return keccak(salt + address + numbers + root)


def inputs_root(roots: Iterable[Hash]) -> Hash:
    """The hash of all that went into a round: the survivors' contribution roots, ascending by member."""
    return keccak(b"".join(roots))
