"""What a replay knows of the ledger, as far as signatures and evidence are held against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from folkmoot.errors import IntegrityError
from folkmoot.ledger import statements
from folkmoot.ledger.chronicle import Entry
from folkmoot.ledger.records import Expulsion, Member, called, members_of
from folkmoot.peer import evidence
from folkmoot.round.events import Key
from folkmoot.round.masking import Place
from folkmoot.round.plan import Plan

__all__ = ["Accounts", "LedgerFacts", "check_expulsion"]


class Accounts:
    """Whose signature counted as which member's, and when: accounts change by delegation and by vote."""

    def __init__(self, history: Sequence[Entry]) -> None:
        self._log: dict[int, list[Entry]] = {}
        for entry in history:
            if entry.kind == "Seated":
                self._log.setdefault(entry["member"], []).append(entry)

    def ever(self, member: int) -> frozenset[str]:
        """All that a member had in daily use."""
        return frozenset(seated["account"] for seated in self._log.get(member, ()))

    def at(self, member: int, block: int) -> frozenset[str]:
        """Those in use at a block; where one changed in that block itself, either."""
        log = self._log.get(member, [])
        before = [seated["account"] for seated in log if seated.block < block][-1:]
        return frozenset(before + [seated["account"] for seated in log if seated.block == block])


@dataclass(frozen=True)
class LedgerFacts:
    """What evidence is held against (``evidence.Facts``): the ledger, as it was replayed."""

    domain: statements.Domain
    members: Mapping[int, Member]
    keys: Accounts
    commits: Mapping[tuple[Key, int], bytes]
    plans: Mapping[Key, tuple[Place, Plan]]

    def accounts(self, member: int) -> frozenset[str]:
        """The accounts whose signature counts as a member's. Raises ``IntegrityError`` when there is no such member."""
        if member not in self.members:
            raise IntegrityError(f"there is no {called(member)}")
        return self.keys.ever(member)

    def commit(self, key: Key, member: int) -> bytes | None:
        """What a member committed to in an attempt."""
        return self.commits.get((key, member))

    def plan(self, key: Key) -> tuple[Place, Plan] | None:
        """Place and plan of an attempt that became final."""
        return self.plans.get(key)


def check_expulsion(expulsion: Expulsion, facts: LedgerFacts, blob: bytes) -> bool:
    """Check signatures and evidence of an expulsion; whether the evidence could be checked.

    It cannot where the attempt that it is about came to nothing. Raises ``IntegrityError`` saying what does not hold.
    """
    digest = statements.expulsion_digest(facts.domain, expulsion.task, expulsion.member, expulsion.evidence)
    signers = members_of(expulsion.signers)
    if len(signers) != len(expulsion.signatures) or any(m not in facts.members for m in signers):
        raise IntegrityError("its signatures are not as many as its signers")
    for member, signature in zip(signers, expulsion.signatures, strict=True):
        if statements.recover(digest, signature) not in facts.keys.at(member, expulsion.block):
            raise IntegrityError(f"the signature of {facts.members[member].name} does not hold")
    found = evidence.decode(blob)
    if (found.task, found.member) != (expulsion.task, expulsion.member):
        raise IntegrityError("the evidence is against another member, or of another task")
    if not isinstance(found, evidence.FalseReveal) and found.key not in facts.plans:
        return False
    evidence.convicts(found, facts)
    return True
