"""Everything that one honest peer sent, given to the others with their keys: fewer than the threshold learn sums only.

Five real peers. Four of them keep whatever the first one sends them, and ask it for more than they should. One of these
is killed in the second round at the worst moment: it has survived, and tells no seed, so that shares are asked for.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rig
from coalition import Coalition
from numpy.typing import NDArray
from unmask_peers import UnmaskingPeer
from wiretap import heard, listen

from folkmoot.digest import Hash
from folkmoot.ledger.records import Final
from folkmoot.network.messages import Refused
from folkmoot.peer.messages import Push, Seeds, SeedsKnown, Unavailable
from folkmoot.round import fixed, members_of
from folkmoot.round.commitment import decode_masked_inputs
from folkmoot.round.events import Key
from folkmoot.round.fixed import Layout
from folkmoot.round.groups import NO_BEACON, released, sign
from folkmoot.round.masking import Masking, Place
from folkmoot.round.plan import Plan, make_plan
from folkmoot.round.reduce import Made, layout_of, make_contribution, sum_row
from folkmoot.task import Context, State, Task, load_task, read_state

NAMES = ["anna", "bert", "carl", "dora", "emil"]
VICTIM, DIES = 0, 3
OTHERS = (1, 2, 3, 4)
ENOUGH = 3
"""More than two thirds of the four who hold a member's shares."""
ROUNDS, SIZE = 3, 20_000


@dataclass
class Overheard:
    """One final round: what the four kept of it, what is public, and, to judge by, what everyone really contributed."""

    final: Final
    key: Key
    plan: Plan
    place: Place
    layout: Layout
    maskings: Mapping[int, Masking]
    plain: Mapping[int, Made]
    sent: Mapping[int, bytes]
    """The masked words of all who survived."""
    sealed: Mapping[int, bytes]
    """Their envelopes."""
    seeds: Mapping[int, Mapping[int, bytes]]
    """Those in the round's record."""
    messages: list[object]
    """The victim's, of this attempt."""

    @property
    def survivors(self) -> tuple[int, ...]:
        return members_of(self.final.survivors)

    def coalition(self, members: tuple[int, ...]) -> Coalition:
        """These members with all their secrets, and with all that any of the four heard."""
        secrets = {m: made for m in members if (made := self.maskings[m].secrets)}
        made = Coalition(self.place, self.plan, secrets, self.sealed)
        for dealer, seeds in self.seeds.items():
            made.hear_seeds(dealer, seeds)
        for message in self.messages:
            if isinstance(message, Seeds):
                made.hear_seeds(VICTIM, message.seeds)
            elif isinstance(message, SeedsKnown):
                for dealer, seeds in message.seeds.items():
                    made.hear_seeds(dealer, seeds)
                for dealer, shares in message.shares.items():
                    made.hear_shares(VICTIM, dealer, shares)
        return made


@dataclass
class Transcript:
    rounds: list[Overheard]
    raw: bytes
    """Everything that the victim sent, end to end."""
    messages: list[object]
    keys: Mapping[int, UnmaskingPeer]


@pytest.fixture(scope="module")
def transcript(tmp_path_factory: pytest.TempPathFactory) -> Transcript:
    folder = tmp_path_factory.mktemp("transcript")
    windows = {"train_seconds": 4, "exchange_seconds": 3, "final_seconds": 6}
    source = rig.tiny_task(folder / "task.py", size=SIZE, rounds=ROUNDS, start_members=5, secrecy="sums", **windows)
    data = rig.tiny_data(folder, NAMES)
    taps = {member: folder / f"{NAMES[member]}.tap" for member in OTHERS}
    with rig.moot(folder / "moot", NAMES, start=False) as moot:
        victim = moot.homes[NAMES[VICTIM]].identity
        moot.start(NAMES[VICTIM])
        for member, path in taps.items():
            arguments = (str(path), VICTIM, victim.endpoint, 2 if member == DIES else 0)
            moot.start(NAMES[member], before=listen, arguments=arguments)
        task = moot.offer(source, data, grant=False)
        dying = moot.processes.pop(NAMES[DIES])
        moot.grant(task, *NAMES)
        try:
            model = moot.finish(task)
        finally:
            dying.kill()
        dying.join()
        moot.filled(task, *moot.processes)
        assert moot.verify(NAMES[VICTIM]).models == {task: model}
        bundle, finals = moot.client().task(task).bundle, moot.finals(task)
    keys = {member: UnmaskingPeer(moot.homes[name]) for member, name in enumerate(NAMES)}
    told = [entry for path in taps.values() for entry in heard(path)]
    raw = b"\xff\x00\xff".join(path.read_bytes() for path in taps.values())
    made = Transcript([], raw, [entry.message for entry in told], keys)
    code, beacon = load_task(keys[VICTIM].context.store.get(bundle)), NO_BEACON
    for final in finals:
        made.rounds.append(_overheard(made, final, beacon, code, bundle, data))
        beacon = final.inputs
    for peer in keys.values():
        peer.close()
    return made


def _overheard(
    made: Transcript, final: Final, beacon: Hash, code: Task, bundle: Hash, data: Mapping[str, Path]
) -> Overheard:
    key, store = Key(final.task, final.round, final.attempt), made.keys[1].context.store
    dealt = members_of(final.dealt)
    plan = make_plan(members_of(final.members), final.parent, final.attempt, code.policy, dealt=dealt, beacon=beacon)
    domain = made.keys[VICTIM].context.moot.domain
    state = read_state(store.get(final.parent))
    layout = layout_of(code, state)
    reveals, seeds = decode_masked_inputs(store.get(final.inputs))
    at = functools.partial(_plain, made, code, bundle, state, layout, key, data)
    return Overheard(
        final=final,
        key=key,
        plan=plan,
        place=Place(domain.chain_id, domain.contract, key, final.parent),
        layout=layout,
        maskings={m: peer.context.masking(key, plan, final.parent, opened=1 << 32) for m, peer in made.keys.items()},
        plain={m: at(m) for m in reveals},
        sent={m: store.get(reveal.shards[0]) for m, reveal in reveals.items()},
        sealed={m: store.get(reveal.shards[1]) for m, reveal in reveals.items()},
        seeds=seeds,
        messages=_of_attempt(made.messages, key),
    )


def _plain(
    made: Transcript, code: Task, bundle: Hash, state: State, layout: Layout, key: Key, data: Mapping[str, Path], m: int
) -> Made:
    """What the member contributed before it was masked: made again from its data and its secret seed."""
    context = Context(key.round, made.keys[m].context.training_seed(bundle, key.round))
    return make_contribution(code, state, code.load(str(data[NAMES[m]])), context, layout)


def _of_attempt(messages: list[object], key: Key) -> list[object]:
    """The victim's messages about an attempt; of its answers, which name none, all."""
    return [m for m in messages if not isinstance(m, Seeds) or m.key == key]


def total(over: Overheard) -> NDArray[np.int64]:
    """The sum of the survivors' words, from what is public: their masked words, and the seeds in the record."""
    masks = [(sign(dealer, target), seed) for dealer, told in over.seeds.items() for target, seed in told.items()]
    return sum_row(over.sent.values(), 0, over.layout, 1, len(over.plan.groups[0]), masks)


# ---- what they learn -------------------------------------------------------------------------------------------------


def test_the_sum_of_the_survivors_comes_out_exactly(transcript: Transcript) -> None:
    assert [over.survivors for over in transcript.rounds[:2]] == [(0, 1, 2, 3, 4)] * 2
    assert transcript.rounds[2].survivors == (0, 1, 2, 4)
    for over in transcript.rounds:
        plain = np.sum([np.concatenate([made.values, made.side]) for made in over.plain.values()], axis=0)
        assert total(over).tolist() == plain.tolist()


@pytest.mark.parametrize("colluders", list(itertools.combinations(OTHERS, ENOUGH - 1)), ids=str)
def test_all_keys_of_fewer_than_the_threshold_leave_noise_of_what_the_honest_peer_sent(
    transcript: Transcript, colluders: tuple[int, ...]
) -> None:
    """defence: share_threshold; released, which never names a seed between two survivors."""
    for over in transcript.rounds:
        coalition = over.coalition(colluders)
        lost = set(over.plan.groups[0]) - set(over.survivors)
        assert coalition.known(VICTIM) == {VICTIM, *colluders, *lost}
        assert coalition.sees_noise(VICTIM, over.sent[VICTIM], over.layout)
        words = coalition.read(VICTIM, over.sent[VICTIM], over.layout)
        assert (words == over.plain[VICTIM].values).mean() < 0.001


@pytest.mark.parametrize("colluders", list(itertools.combinations(OTHERS, ENOUGH)), ids=str)
def test_all_keys_of_as_many_as_the_threshold_lay_it_open(transcript: Transcript, colluders: tuple[int, ...]) -> None:
    """What the test above would find if there were no defence; and docs/privacy.md tells the threshold exactly."""
    for over in transcript.rounds:
        coalition = over.coalition(colluders)
        assert coalition.reads(VICTIM)
        words = coalition.read(VICTIM, over.sent[VICTIM], over.layout)
        assert words.tolist() == over.plain[VICTIM].values.tolist()
        assert not coalition.sees_noise(VICTIM, over.sent[VICTIM], over.layout)


def test_whoever_listens_without_a_key_learns_sums_only(transcript: Transcript) -> None:
    """defence: released, which never names a seed between two survivors."""
    for over in transcript.rounds:
        nobody = over.coalition(())
        for member in set(over.survivors):
            assert nobody.sees_noise(member, over.sent[member], over.layout)


# ---- what was sent ---------------------------------------------------------------------------------------------------


def test_no_secret_of_the_honest_peer_is_in_what_it_sent(transcript: Transcript) -> None:
    """defence: Unmasking._masking; released. Not even to those who ask before the freeze, or for other survivors."""
    identity = transcript.keys[VICTIM].context.identity
    secret = [identity.seed, identity.mask_secret, identity.exchange_secret, identity.endpoint_secret]
    secret += [bytes(identity.account.key)]
    for over in transcript.rounds:
        own, near = over.maskings[VICTIM].secrets, over.plan.neighbours[VICTIM]
        assert own is not None
        due = released(VICTIM, near, over.survivors)
        assert all(own.seeds[target] in transcript.raw for target in due), "the transcript lacks what was told"
        secret += [seed for target, seed in own.seeds.items() if target not in due]
        secret += [own.box_key(VICTIM, j) for j in near] + [own.box_key(j, VICTIM) for j in near]
        secret += [own.coefficients(n + 1)[16 * n :] for n in range(10)]
        none = over.coalition(())
        mine = over.coalition((VICTIM,))
        for (dealer, target), shares in mine.shares.items():
            if target not in released(dealer, over.plan.neighbours[dealer], over.survivors):
                secret.append(shares[VICTIM])
                assert VICTIM not in none.shares.get((dealer, target), {})
        made = over.plain[VICTIM]
        secret += [piece[:64] for piece in fixed.encode_shards(made.values, made.side, over.layout, 1)]
    assert not [value.hex() for value in secret if value in transcript.raw]


def test_the_transcript_is_whole(transcript: Transcript) -> None:
    """Contributions were pushed, seeds told, shares of the silent one's asked for, and all other questions refused."""
    for over in transcript.rounds:
        assert over.sent[VICTIM] in transcript.raw
        assert over.sealed[VICTIM] in transcript.raw
    kinds = {type(message) for message in transcript.messages}
    assert {Push, Seeds, SeedsKnown} <= kinds
    shares = [m.shares for m in transcript.messages if isinstance(m, SeedsKnown)]
    assert any(DIES in told for told in shares), "nobody asked for the silent one's shares"
    refused = [m.reason for m in transcript.messages if isinstance(m, Refused | Unavailable)]
    assert any("survivors are not fixed here" in reason for reason in refused)
    assert any("the ledger shows other survivors" in reason for reason in refused)
