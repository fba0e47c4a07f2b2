"""The account of a moot: what another moot that continues it takes over, told from its ledger alone."""

from __future__ import annotations

from collections import Counter

import msgspec

from folkmoot.digest import Hash, blob_hash
from folkmoot.errors import LocalError
from folkmoot.ledger import Moot, chronicle
from folkmoot.ledger.chronicle import Entry
from folkmoot.ledger.motions import Kind

__all__ = ["Account", "account_in", "account_of"]


class Account(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a successor takes over of a moot: a blob, whose hash is the heritage."""

    chain_id: int
    contract: str
    block: int
    """Everything up to this block counts."""
    ledger: str
    """Where the successor's ledger is."""
    members: dict[str, str]
    """Names, by main account."""
    tasks: tuple[tuple[int, str, int, str], ...]
    """Of each task its id, the hash of its code, its last final round and that round's model (its first state: 0)."""
    weights: dict[str, int]
    """Of votes that do not weigh 1, by main account."""
    bounties: tuple[tuple[int, str, int], ...]
    """Of each task and token what is set aside and not settled."""

    @property
    def blob(self) -> bytes:
        """The account as bytes."""
        return msgspec.json.encode(self)


def account_of(moot: Moot, block: int, ledger: str) -> Account:
    """The account of a moot as of a block, from its ledger's events alone: everyone makes the same."""
    names: dict[int, str] = {}
    mains: dict[int, str] = {}
    tasks: dict[int, tuple[int, str, int, str]] = {}
    moved: dict[int, Entry] = {}
    weights: dict[int, int] = {}
    bounties: Counter[tuple[int, str]] = Counter()
    for entry in chronicle.entries(moot):
        if entry.block > block:
            break
        if entry.kind == "Joined":
            names[entry["member"]] = entry["name"]
        elif entry.kind == "Seated":
            mains[entry["member"]] = entry["main"]
        elif entry.kind == "Removed":
            mains.pop(entry["member"], None)
        elif entry.kind == "Proposed":
            tasks[entry["task"]] = (entry["task"], entry["bundle"].hex(), 0, entry["genesis"].hex())
        elif entry.kind == "Finalised":
            id, bundle, *_ = tasks[entry["task"]]
            tasks[entry["task"]] = (id, bundle, entry["round"], entry["model"].hex())
        elif entry.kind == "Moved":
            moved[entry["motion"]] = entry
        elif entry.kind == "Enacted" and moved[entry["motion"]]["kind"] == Kind.WEIGH:
            member, weight, _ = moved[entry["motion"]]["words"]
            weights[member] = weight
        elif entry.kind in ("Funded", "Reclaimed", "Settled"):
            sign = 1 if entry.kind == "Funded" else -1
            bounties[entry["task"], entry["token"]] += sign * entry["amount"]
    return Account(
        chain_id=moot.chain_id,
        contract=moot.address,
        block=block,
        ledger=ledger,
        members={account: names[member] for member, account in sorted(mains.items())},
        tasks=tuple(tasks[id] for id in sorted(tasks)),
        weights={account: weights[m] for m, account in sorted(mains.items()) if weights.get(m, 1) != 1},
        bounties=tuple((*key, bounties[key]) for key in sorted(bounties) if bounties[key]),
    )


def account_in(data: bytes, name: Hash) -> Account:
    """The account of a moot in a blob of this name. Raises ``LocalError`` where it is none."""
    try:
        found = msgspec.json.decode(data, type=Account)
    except msgspec.MsgspecError as error:
        raise LocalError(f"blob {name.hex()[:12]} is no account of a moot: {error}") from None
    if blob_hash(found.blob) != name:
        raise LocalError(f"blob {name.hex()[:12]} is no account of a moot in its one form")
    return found
