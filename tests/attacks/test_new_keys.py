"""A member puts other keys in use while a secret attempt is under way: its masks are of the keys from before."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from mask_table import bits
from unmask_peers import UnmaskingPeer, closed, frozen

from folkmoot.errors import NetworkError
from folkmoot.peer.delegation import delegate
from folkmoot.peer.local import LocalMoot
from folkmoot.round.events import Key
from folkmoot.round.masking import Masking
from folkmoot.round.view import RoundView

N = 5
ALL = bits(range(N))
DORA = 3
OTHERS = [m for m in range(N) if m != DORA]


@pytest.fixture
def moot(tmp_path: Path) -> LocalMoot:
    return LocalMoot.found(tmp_path / "moot", [f"member {m}" for m in range(N)], name="new keys")


@pytest.fixture
def peers(moot: LocalMoot) -> Iterator[list[UnmaskingPeer]]:
    made = [UnmaskingPeer(home) for home in moot.homes.values()]
    yield made
    for peer in made:
        peer.close()


@pytest.fixture
def daily(moot: LocalMoot, peers: list[UnmaskingPeer], tmp_path: Path) -> Iterator[UnmaskingPeer]:
    """The same member as ``peers[DORA]``, with other keys, once a test has it put them in use."""
    made = UnmaskingPeer(delegate(list(moot.homes.values())[DORA], tmp_path / "daily"))
    yield made
    made.close()


def under_way(moot: LocalMoot) -> int:
    """The block, as contracts see it, of an attempt that opens now: before any block that is still to come."""
    return next(iter(moot.homes.values())).moot().head() + 1


def masking_of(peer: UnmaskingPeer) -> Masking:
    assert peer.exchange.masking is not None
    return peer.exchange.masking


def see(peer: UnmaskingPeer, view: RoundView, opened: int) -> Masking:
    peer.context.agreement.read()
    peer.see(dataclasses.replace(view, opened=opened))
    return masking_of(peer)


def test_the_others_open_the_boxes_of_its_old_keys_and_rebuild_its_seed(
    moot: LocalMoot, peers: list[UnmaskingPeer], request: pytest.FixtureRequest
) -> None:
    """defence: Agreement.shared takes the keys that stood before the attempt opened."""
    key, opened = Key(1, 1, 0), under_way(moot)
    envelopes = {peer.index: see(peer, closed(key, N), opened).envelope() for peer in peers}
    old = masking_of(peers[DORA])
    assert old.secrets is not None
    request.getfixturevalue("daily")
    for peer in (peers[m] for m in OTHERS):
        peer.restart()  # as one that begins the attempt only now
        assert see(peer, closed(key, N), opened).envelope() == envelopes[peer.index]
        peer.take(envelopes)
        see(peer, frozen(key, N, ALL), opened)
    learner = masking_of(peers[OTHERS[0]])
    for source in OTHERS[1:]:
        told = peers[source].asked(ALL, [DORA]).shares[DORA]
        rebuilt = learner.take_shares(source, DORA, ALL, told)
    assert rebuilt == {DORA: old.secrets.seeds[DORA]}


def test_with_its_new_keys_it_holds_what_the_others_sent_and_tells_no_seed(
    moot: LocalMoot, peers: list[UnmaskingPeer], request: pytest.FixtureRequest
) -> None:
    """defence: PeerContext.masking gives no masks to who has newer keys, and Unmasking.release tells none."""
    key, opened = Key(1, 1, 0), under_way(moot)
    envelopes = {peer.index: see(peer, closed(key, N), opened).envelope() for peer in peers}
    daily: UnmaskingPeer = request.getfixturevalue("daily")
    masking = see(daily, closed(key, N), opened)
    assert masking.secrets is None
    daily.take(envelopes)  # its own box in each is for other keys; that is no fault of who sent it
    see(daily, frozen(key, N, ALL), opened)
    daily.release(ALL)
    assert not daily.machine.seeds_of(DORA)
    assert not any(daily.asked(ALL, range(N)).shares.values())


def test_from_the_next_attempt_on_its_new_keys_serve(
    moot: LocalMoot, peers: list[UnmaskingPeer], request: pytest.FixtureRequest
) -> None:
    daily: UnmaskingPeer = request.getfixturevalue("daily")
    now = [*(peers[m] for m in OTHERS), daily]
    key, opened = Key(1, 1, 1), under_way(moot)
    envelopes = {peer.index: see(peer, closed(key, N), opened).envelope() for peer in now}
    for peer in now:
        peer.take(envelopes)
    assert see(peers[DORA], closed(key, N), opened).envelope() != envelopes[DORA]


def test_a_member_whose_key_is_not_known_is_named(peers: list[UnmaskingPeer]) -> None:
    with pytest.raises(NetworkError, match="the exchange key of member 8 is not known here yet"):
        peers[0].context.agreement.shared(7, 1)
