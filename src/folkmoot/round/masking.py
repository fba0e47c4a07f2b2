"""One member's side of one attempt's masks: what it adds, what it may tell, and what it can rebuild of the silent.

Made anew after a crash from the member's keys and the ledger, it makes the same masks and the same envelope. It
gives nothing away for other survivors than those it was asked with first, or fewer of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from folkmoot.digest import Hash
from folkmoot.errors import IntegrityError, ProtocolError
from folkmoot.round.envelope import Envelope, envelope_bytes, seal
from folkmoot.round.events import Key
from folkmoot.round.groups import released
from folkmoot.round.plan import Plan
from folkmoot.round.seeds import Secrets, mask_context
from folkmoot.round.view import called, number_of

__all__ = ["Masking", "Place", "context_of"]


@dataclass(frozen=True)
class Place:
    """Where an attempt stands: one contract on one chain, one attempt, from one parent state."""

    chain_id: int
    contract: str
    """Address, ``0x`` and 40 hex digits."""
    key: Key
    parent: Hash


def context_of(place: Place, plan: Plan, member: int) -> bytes:
    """The 32 bytes that the masks of the group of ``member`` are bound to."""
    contract, bitmap = bytes.fromhex(place.contract.removeprefix("0x")), sum(1 << m for m in plan.group_of(member))
    return mask_context(place.chain_id, contract, *place.key, place.parent, plan.beacon, bitmap)


class Masking:
    """The masks of member ``me`` in one attempt.

    ``secret`` is its own 32 bytes, ``shared`` gives what X25519 agrees between it and another member. A member that was
    not dealt to a group has no masks, nor one that has put other keys in use since (``secret`` is ``None``); it checks
    what others tell, as everyone does.
    """

    def __init__(self, me: int, place: Place, plan: Plan, secret: bytes | None, shared: Callable[[int], bytes]) -> None:
        self.me = me
        self._place = place
        self._plan = plan
        self._envelopes: dict[int, Envelope] = {}
        self._own_shares: dict[int, dict[int, bytes]] = {}
        """For each dealer what its box gave this member: target -> share."""
        self._gathered: dict[tuple[int, int], dict[int, bytes]] = {}
        """For each dealer and target the shares that came: holder -> share."""
        self._first: int | None = None
        self._survivors: int | None = None
        self.secrets: Secrets | None = None
        if plan.group_of(me) and secret is not None:
            self.secrets = Secrets(context_of(place, plan, me), me, plan.neighbours[me], secret, shared)

    # ---- this peer's contribution ------------------------------------------------------------------------------

    @property
    def masks(self) -> tuple[tuple[int, bytes], ...]:
        """Sign and seed of each mask of this member's."""
        return tuple(self.secrets.masks) if self.secrets else ()

    def envelope(self) -> bytes:
        """This peer's envelope: the same bytes each time."""
        if self.secrets is None:
            raise ProtocolError(f"{called(self.me)} was not dealt in to this attempt")
        return seal(self.secrets)

    # ---- what others send --------------------------------------------------------------------------------------

    def envelope_bytes(self, dealer: int) -> int:
        """The exact size of a contributor's envelope. Raises ``IntegrityError`` when it was not dealt in."""
        return envelope_bytes(len(self._near(dealer)))

    def take_envelope(self, dealer: int, data: bytes, *, whole: bool) -> None:
        """Keep a contributor's envelope.

        With ``whole`` its box for this member has to open and to hold what it should: who deals shares that are none is
        not held here, and does not survive where more than f members find it so. Once it has survived, its envelope
        serves for what it is worth. Raises ``IntegrityError``.
        """
        near = self._near(dealer)
        envelope = Envelope.parse(data, context_of(self._place, self._plan, dealer), dealer, near)
        if self.secrets is not None and self.me in near:
            try:
                self._own_shares[dealer] = envelope.open_box(self.secrets)
            except IntegrityError:
                if whole:
                    raise
        self._envelopes[dealer] = envelope

    def _near(self, dealer: int) -> tuple[int, ...]:
        near = self._plan.neighbours.get(dealer)
        if near is None:
            raise IntegrityError(f"{called(dealer)} was not dealt in to this attempt")
        return near

    # ---- once the ledger has fixed who survived ----------------------------------------------------------------

    def frozen_with(self, first: int) -> None:
        """The ledger shows these (bitmap) as those that the attempt was first frozen with. Unless it does, the
        survivors that ``targets`` is asked with are taken for them."""
        self._first = first

    def targets(self, dealer: int, survivors: int) -> tuple[int, ...]:
        """Whose seeds, among those of ``dealer``, may be known; none of one whose group has too few survivors.

        Raises ``ProtocolError`` when asked with other survivors than before; fewer of the same may be.
        """
        if self._survivors is None or not survivors & ~self._survivors:
            if survivors != self._survivors:
                self._gathered.clear()
            self._survivors = survivors
        if survivors != self._survivors:
            raise ProtocolError("the survivors of this attempt were others a moment ago; nothing is told for two sets")
        first = survivors if self._first is None else self._first
        row = next((row for row in self._plan.rows(survivors, first) if dealer in row), ())
        return released(dealer, self._plan.neighbours.get(dealer, ()), row)

    def release(self, survivors: int) -> dict[int, bytes]:
        """Those of this peer's seeds that may be known, by target."""
        if self.secrets is None:
            return {}
        return {target: self.secrets.seeds[target] for target in self.targets(self.me, survivors)}

    def shares(self, dealer: int, survivors: int) -> dict[int, bytes]:
        """This member's shares of the seeds of ``dealer`` that may be known, by target, as far as it was dealt any."""
        held = self._own_shares.get(dealer, {})
        return {target: held[target] for target in self.targets(dealer, survivors) if target in held}

    def take_seeds(self, dealer: int, survivors: int, seeds: Mapping[int, bytes]) -> dict[int, bytes] | None:
        """The seeds of ``dealer``, all that may be known, if these are they; ``None`` while its envelope is not here.

        Raises ``IntegrityError`` when one is not what its envelope says, or when it is not for one to know.
        """
        envelope = self._envelopes.get(dealer)
        if envelope is None:
            return None
        due = self.targets(dealer, survivors)
        if set(seeds) != set(due):
            raise IntegrityError(
                f"the seeds of {called(dealer)} came for {_numbers(seeds)}, where {_numbers(due)} are due"
            )
        for target in due:
            if not envelope.check_seed(target, seeds[target]):
                raise IntegrityError(
                    f"the seed of {called(dealer)} for {called(target)} is not the one it committed to"
                )
        return {target: seeds[target] for target in due}

    def take_shares(
        self, holder: int, dealer: int, survivors: int, shares: Mapping[int, bytes]
    ) -> dict[int, bytes] | None:
        """Keep a holder's shares; the seeds of ``dealer`` once there are enough of all of them.

        Raises ``IntegrityError`` when a share is not what the dealer gave that holder.
        """
        envelope = self._envelopes.get(dealer)
        if envelope is None:
            return None
        due = self.targets(dealer, survivors)
        for target, share in shares.items():
            if target not in due or not envelope.check_share(holder, target, share):
                raise IntegrityError(
                    f"the share of {called(holder)} of a seed of {called(dealer)} is not what was dealt"
                )
            self._gathered.setdefault((dealer, target), {})[holder] = share
        for target, share in self.shares(dealer, survivors).items():
            self._gathered.setdefault((dealer, target), {})[self.me] = share
        return self._rebuilt(envelope, due)

    def _rebuilt(self, envelope: Envelope, due: Iterable[int]) -> dict[int, bytes] | None:
        seeds = {}
        for target in due:
            shares = self._gathered.get((envelope.dealer, target), {})
            if len(shares) < envelope.threshold:
                return None
            seeds[target] = envelope.recover(target, shares)
        return seeds


def _numbers(members: Iterable[int]) -> str:
    return ", ".join(str(number_of(member)) for member in sorted(members)) or "none"
