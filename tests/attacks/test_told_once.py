"""Of each member either its self mask or the masks it shares with the others come to light, whatever the ledger shows
and whoever asks: tried with real peers' keys, journals and machines.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping

import pytest
from coalition import Coalition
from mask_table import PARENT, bits
from unmask_peers import NOW, UnmaskingPeer, closed, frozen

from folkmoot.errors import FolkmootError, NetworkError, ProtocolError
from folkmoot.peer.local import LocalMoot
from folkmoot.peer.messages import Seeds, SeedsKnown, SeedsWanted
from folkmoot.round import events as ev
from folkmoot.round import shamir
from folkmoot.round.events import Key
from folkmoot.round.masking import Place
from folkmoot.round.view import members_of
from folkmoot.task.policy import quota

N = 5
ALL = bits(range(N))
VICTIM = 4
COLLUDERS = (0, 1)
"""One fewer than it takes."""


@pytest.fixture(scope="module")
def moot(tmp_path_factory: pytest.TempPathFactory) -> LocalMoot:
    return LocalMoot.found(tmp_path_factory.mktemp("told"), [f"member {m}" for m in range(N)], name="told once")


@pytest.fixture(scope="module")
def peers(moot: LocalMoot) -> Iterator[list[UnmaskingPeer]]:
    made = [UnmaskingPeer(home) for home in moot.homes.values()]
    yield made
    for peer in made:
        peer.close()


rounds = itertools.count(1)


def begin(peers: list[UnmaskingPeer]) -> tuple[Key, dict[int, bytes]]:
    """A round that no peer has heard of, its commits closed; everyone's envelopes, which everyone has."""
    key = Key(1, next(rounds), 0)
    envelopes = {}
    for peer in peers:
        peer.see(closed(key, N))
        assert peer.exchange.masking is not None
        envelopes[peer.index] = peer.exchange.masking.envelope()
    for peer in peers:
        peer.take(envelopes)
    return key, envelopes


def coalition(peers: list[UnmaskingPeer], key: Key, envelopes: Mapping[int, bytes]) -> Coalition:
    plan = peers[0].machine.plan
    assert plan is not None
    secrets = {m: masking.secrets for m in COLLUDERS if (masking := peers[m].exchange.masking) and masking.secrets}
    domain = peers[0].context.moot.domain
    return Coalition(Place(domain.chain_id, domain.contract, key, PARENT), plan, secrets, envelopes)


def hear_all(ears: Coalition, peer: UnmaskingPeer, survivors: int) -> None:
    """All that the peer tells by itself when these are the survivors, and all that it answers, one dealer at a time."""
    with contextlib.suppress(FolkmootError):
        peer.release(survivors)
    for dealer in range(N):
        try:
            known = peer.asked(survivors, [dealer])
        except FolkmootError:
            continue
        for who, seeds in known.seeds.items():
            ears.hear_seeds(who, seeds)
        for who, shares in known.shares.items():
            ears.hear_shares(peer.index, who, shares)


def stays(peer: UnmaskingPeer, key: Key) -> None:
    """Nothing happens between the two looks at the ledger."""


def restarts(peer: UnmaskingPeer, key: Key) -> None:
    peer.restart()


def sees_the_next_attempt(peer: UnmaskingPeer, key: Key) -> None:
    """Which the chain takes back afterwards."""
    peer.see(closed(key._replace(attempt=1), N))


@pytest.mark.parametrize("between", [stays, restarts, sees_the_next_attempt])
def test_whatever_two_sets_a_ledger_shows_no_survivor_is_laid_open(
    peers: list[UnmaskingPeer], between: Callable[[UnmaskingPeer, Key], None]
) -> None:
    """defence: Masking.targets; Journal.opens, which survives the process and the attempt; released.

    Everyone is asked for everything under the set that the ledger shows, and under the other one. A survivor that is
    left out later is another matter (``test_masks_under_attack``).
    """
    sets = [ALL, ALL & ~(1 << VICTIM), ALL & ~(1 << 3), ALL & ~0b1001, 0b11100, 0b00111, 0b11000]
    for first, second in itertools.permutations(sets, 2):
        key, envelopes = begin(peers)
        ears = coalition(peers, key, envelopes)
        for shown in (first, second):
            for peer in peers:
                peer.see(frozen(key, N, shown))
                peer.take(envelopes)
                for asked in (first, second):
                    hear_all(ears, peer, asked)
                between(peer, key)
        told = {dealer for dealer, _ in ears.seeds}
        assert told == (set(members_of(first)) if first.bit_count() >= quota(N) else set())
        last = first if second & ~first else second
        for member in set(range(N)) - set(COLLUDERS):
            others = {m for m in range(N) if m not in (member, *COLLUDERS) and last >> m & 1}
            known, left_out = ears.known(member), (first & ~last) >> member & 1
            assert left_out or not (member in known and known & others), (bin(first), bin(second), member)


def test_before_the_ledger_fixes_survivors_nobody_tells_a_seed_or_share(peers: list[UnmaskingPeer]) -> None:
    """defence: Unmasking._masking asks the machine for the ledger's survivors."""
    begin(peers)
    for survivors in (ALL, 0):
        for peer in peers:
            with pytest.raises(NetworkError, match="not fixed here"):
                peer.release(survivors)
            with pytest.raises(NetworkError, match="not fixed here"):
                peer.asked(survivors, range(N))


@pytest.mark.parametrize("why", ["lost journal", "twin"])
def test_who_does_not_know_what_it_has_told_of_an_attempt_tells_nothing_of_it(
    peers: list[UnmaskingPeer], why: str
) -> None:
    """defence: PeerContext.may_tell, over restarts too where the journal was lost."""
    key, envelopes = begin(peers)
    peer = peers[2]
    if why == "twin":
        peer.context.twin = "it was seen elsewhere"
    else:
        peer.context.journal.sit_out(key)
        peer.restart()
    peer.see(frozen(key, N, ALL))
    peer.take(envelopes)
    with pytest.raises(NetworkError, match="sits it out"):
        peer.release(ALL)
    with pytest.raises(NetworkError, match="sits it out"):
        peer.asked(ALL, range(N))
    peer.context.twin = ""
    later, envelopes = begin(peers)
    peer.see(frozen(later, N, ALL))
    peer.take(envelopes)
    assert peer.asked(ALL, range(N)).shares, "of the next attempt it knows what it tells"


def test_who_asks_with_other_survivors_than_the_ledger_shows_is_told_nothing(peers: list[UnmaskingPeer]) -> None:
    """defence: Unmasking._masking compares with the ledger's survivors."""
    key, _ = begin(peers)
    for peer in peers:
        peer.see(frozen(key, N, ALL))
        for asked in (ALL & ~(1 << VICTIM), 1 << VICTIM, 0):
            with pytest.raises(NetworkError, match="the ledger shows other survivors"):
                peer.asked(asked, range(N))
            with pytest.raises(NetworkError, match="the ledger shows other survivors"):
                peer.release(asked)


@pytest.mark.parametrize("between", [restarts, sees_the_next_attempt])
def test_what_a_member_told_for_some_survivors_it_never_tells_for_others(
    peers: list[UnmaskingPeer], between: Callable[[UnmaskingPeer, Key], None]
) -> None:
    """defence: Unmasking._masking asks Journal.opens, which survives the process and the attempt."""
    without = ALL & ~(1 << VICTIM)
    key, envelopes = begin(peers)
    told = peers[2]
    told.see(frozen(key, N, without))
    told.release(without)
    between(told, key)
    for shown in (ALL, ALL & ~1):
        told.see(frozen(key, N, shown))
        told.take(envelopes)
        with pytest.raises(ProtocolError, match="the ledger showed other survivors before"):
            told.release(shown)
        with pytest.raises(ProtocolError, match="the ledger showed other survivors before"):
            told.asked(shown, range(N))
        between(told, key)
    told.see(frozen(key, N, without))
    told.release(without)


def test_nothing_that_is_asked_for_or_told_can_name_a_mask() -> None:
    """Actions and messages name attempts, survivors and dealers; which seeds may be known follows from these."""
    names = {
        ev.Release: {"key", "survivors", "to"},
        ev.AskSeeds: {"key", "survivors", "dealers", "sources"},
    }
    for action, due in names.items():
        assert {field.name for field in dataclasses.fields(action)} == due
    assert set(SeedsWanted.__struct_fields__) == {"task", "round", "attempt", "survivors", "dealers"}
    assert set(Seeds.__struct_fields__) == {"task", "round", "attempt", "survivors", "seeds", "signature"}


def test_what_a_silent_member_keeps_back_is_rebuilt_once_however_many_answer(
    peers: list[UnmaskingPeer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each answer after the first that suffice would cost a peer of a large moot as much again."""
    key, envelopes = begin(peers)
    survivors = ALL & ~1
    for peer in peers:
        peer.see(frozen(key, N, survivors))
        peer.take(envelopes)
    asking, combined = peers[1], []
    combine = shamir.combine

    async def ask(source: int, wanted: SeedsWanted) -> tuple[SeedsKnown, bytes]:
        return peers[source].asked(survivors, wanted.dealers), b""

    monkeypatch.setattr(asking.context, "ask", ask)
    monkeypatch.setattr(shamir, "combine", lambda shares: combined.append(len(shares)) or combine(shares))
    asyncio.run(asking.unmasking.ask(ev.AskSeeds(key, survivors, (VICTIM,), (0, 2, 3, 4))))
    assert set(asking.machine.seeds_of(VICTIM)) == {VICTIM, 0}
    assert combined == [3, 3], "a self mask and the one it shares with the lost member, by a threshold of shares"


def test_the_machine_asks_a_lost_member_to_release_nothing(peers: list[UnmaskingPeer]) -> None:
    """defence: the machine's condition on Release. What a lost member would tell is all that hides what it sent."""
    key, _ = begin(peers)
    for peer in peers:
        peer.machine.handle(ev.Opened(key))
        actions = peer.machine.handle(ev.LedgerSeen(frozen(key, N, ALL & ~(1 << VICTIM)), NOW, True))
        asked = [action.survivors for action in actions if isinstance(action, ev.Release)]
        assert asked == ([] if peer.index == VICTIM else [ALL & ~(1 << VICTIM)])
