"""The register against the contract: whatever members do, what it says stood is what stood, and it cries no wolf."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from folkmoot.errors import LedgerRefused
from folkmoot.ledger import Chain, JoinFields, Moot, Phase, PolicyTerms, Signer, create_chain, statements
from folkmoot.ledger.chronicle import entries
from folkmoot.ledger.motions import Kind, Rules
from folkmoot.ledger.records import Standing, bitmap_of, members_of
from folkmoot.ledger.replica import Replica
from folkmoot.peer.register import Register

MEMBERS = 5
VOUCHER = b"\x77" * 32
START = 1_800_000_000


class Members:
    """Members who do at random what they may, and much that they may not, on a chain whose clock the test keeps."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now = START
        path = folder / "ledger.sqlite"
        create_chain(path, genesis_time=START)
        self.chain = Chain(Replica(path, clock=lambda: self.now))
        self.keys = [hashlib.sha256(b"%d" % member).digest() for member in range(MEMBERS)]
        signers = [Signer(key) for key in self.keys]
        fixed = {"name": "a moot", "seats": MEMBERS, "voucher": statements.address_of(VOUCHER)}
        rules = Rules(ordinary=50, grave=60, window=60)
        first = Moot.deploy(self.chain, signers[0], founder=self.fields(0), rules=rules, **fixed)
        self.moots = [Moot(self.chain, first.address, signer) for signer in signers]
        for member in range(1, MEMBERS):
            self.moots[member].join(self.fields(member), VOUCHER)
        for member in range(MEMBERS):
            self.moots[member].describe(bytes(range(32)), 10)

    def fields(self, member: int) -> JoinFields:
        mark = bytes([member + 1])
        return JoinFields(f"member {member}", mark * 32, b"\x80" + mark * 31, b"\x01" * 64)

    def any(self) -> Moot:
        return self.moots[self.chance.randrange(MEMBERS)]

    def task(self) -> int:
        return self.chance.randint(1, max(1, len(self.moots[0].tasks())))

    def step(self) -> None:
        """One thing that somebody tries; the contract may refuse it."""
        acts = (self.propose, self.decide, *(self.grant,) * 6, self.revoke, self.wait)
        act = self.chance.choice((*acts, *(self.commit,) * 6, *(self.finish,) * 8, self.retry, self.expel, self.attend))
        try:
            act()
        except LedgerRefused:
            self.now += 1

    def propose(self) -> None:
        sealed = self.chance.random() < 0.3
        least = 3 if sealed else self.chance.randint(1, 3)
        terms = PolicyTerms(
            rounds=self.chance.randint(1, 4),
            min_members=least,
            start=least + self.chance.randint(0, 1),
            train_seconds=20,
            exchange_seconds=20,
            final_seconds=20,
            secret=sealed,
        )
        if len(self.moots[0].tasks()) < 3:
            self.any().propose(b"\xb0" * 32, b"\x90" * 32, terms)

    def decide(self) -> None:
        """A motion that enough vote for, sometimes enacted late or never."""
        chosen = self.chance.random()
        if chosen < 0.92:
            likely = (Standing.ADOPTED,) * 6 + (Standing.PAUSED,) * 2 + (Standing.STOPPED,)
            kind, words = Kind.STEER, (self.task(), int(self.chance.choice(likely)))
        elif chosen < 0.96:
            kind, words = Kind.REMOVE, (self.chance.randrange(1, MEMBERS),)
        elif chosen < 0.98:
            kind, words = Kind.REKEY, (self.chance.randrange(1, MEMBERS), int(statements.address_of(b"\x55" * 32), 16))
        else:
            kind, words = Kind.RETIRE, (1, int(statements.address_of(VOUCHER), 16), 5)
        mover = self.any()
        motion = mover.assembly.move(kind, *words)
        for moot in self.chance.sample(self.moots, MEMBERS):
            try:
                moot.assembly.vote(motion, self.chance.random() < 0.9)
            except LedgerRefused:
                continue
        mover.assembly.enact(motion)

    def grant(self) -> None:
        member = self.chance.randrange(MEMBERS)
        until = self.now + self.chance.randint(1, 60) if self.chance.random() < 0.3 else None
        rounds = self.chance.randint(1, 2) if self.chance.random() < 0.3 else 0
        self.moots[member].grant(self.task(), member + 1, until=until, rounds=rounds)

    def revoke(self) -> None:
        self.any().revoke(self.task())

    def attend(self) -> None:
        self.any().attend(self.task())

    def wait(self) -> None:
        self.now += self.chance.choice((1, 5, 25, 70))

    def commit(self) -> None:
        """Most members, in any order."""
        task = self.task()
        view = self.moots[0].round_view(task)
        for moot in self.chance.sample(self.moots, self.chance.randint(1, MEMBERS)):
            try:
                moot.commit(task, view.round, view.attempt, self.chance.randbytes(32))
            except LedgerRefused:
                continue

    def finish(self) -> None:
        """Freeze what is closed, or sign what is frozen."""
        task, moot = self.task(), self.moots[0]
        view = moot.round_view(task)
        key = (task, view.round, view.attempt)
        keyed = {m.index for m in moot.members() if m.address == statements.address_of(self.keys[m.index])}
        signers = [member for member in members_of(view.members) if member in keyed]
        if view.phase is Phase.COMMIT:
            held = view.committed & ~(1 << self.chance.randrange(MEMBERS) if self.chance.random() < 0.2 else 0)
            digest = statements.holding_digest(moot.domain, *key, held)
            self.any().freeze(*key, {m: (held, statements.sign(self.keys[m], digest)) for m in signers})
        elif view.phase is Phase.FROZEN:
            told = [self.chance.randbytes(32) for _ in range(3)]
            digest = statements.model_digest(moot.domain, *key, view.parent, *told, view.survivors)
            self.any().finalise(*key, *told, {m: statements.sign(self.keys[m], digest) for m in signers})

    def retry(self) -> None:
        view = self.moots[0].round_view(self.task())
        self.any().retry(view.task, view.round, view.attempt)

    def expel(self) -> None:
        if self.chance.random() < 0.95:
            return
        task, moot, member = self.task(), self.moots[0], self.chance.randrange(MEMBERS)
        digest = statements.expulsion_digest(moot.domain, task, member, b"\xee" * 32)
        signed = {m: statements.sign(self.keys[m], digest) for m in members_of(moot.living())}
        self.any().expel(task, member, b"\xee" * 32, signed)


@pytest.mark.parametrize("seed", range(12))
def test_what_it_says_stood_is_what_the_contract_says(tmp_path: Path, seed: int) -> None:
    members = Members(tmp_path, seed)
    moot = members.moots[0]
    for _ in range(300):
        members.step()
    register = Register.of(entries(moot))
    assert register.living == moot.living()
    for record in moot.tasks():
        finals = moot.finals(record.id)
        counted = {round: bitmap_of(c) for (of, round), c in register.counted.items() if of == record.id}
        assert counted == {final.round: final.survivors for final in finals}
        assert register.tasks[record.id].standing == record.standing
        assert register.tasks[record.id].barred == record.barred
        live = {c.member for c in register.consents if c.task == record.id and c.ended is None}
        held = {member for member in range(MEMBERS) if moot.grant_of(record.id, member) is not None}
        assert held <= live
        # the contract shows no grant that has lapsed and that no round has swept away yet
        view = moot.round_view(record.id)
        for consent in register.consents:
            if consent.task == record.id and consent.ended is None and consent.member not in held:
                over = (consent.until is not None and consent.until <= moot.now()) or (
                    consent.last is not None and consent.last < view.round
                )
                assert over
