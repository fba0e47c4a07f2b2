"""A moot whose rounds are made by hand, in this process, by the members' real keys on a real ledger: no peer runs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from folkmoot.digest import blob_hash
from folkmoot.ledger import Moot, statements
from folkmoot.ledger.motions import Kind
from folkmoot.ledger.records import bitmap_of
from folkmoot.peer import evidence, governing
from folkmoot.peer.home import Home
from folkmoot.peer.journal import Journal
from folkmoot.peer.local import LocalMoot
from folkmoot.round import fixed
from folkmoot.round.commitment import commit_hash, contribution_root, encode_hashes, encode_inputs, seat_of
from folkmoot.round.events import Key, Reveal
from folkmoot.round.reduce import layout_of, make_shards, next_state, sum_row
from folkmoot.store import Store
from folkmoot.task import Context, load_task, read_state, state_bytes

NAMES = ("anna", "bert", "carl", "dora")
TASK = """
import numpy as np
import folkmoot as fm


def load(path):
    data = np.loadtxt(path)
    x, y = data[:, :-1], data[:, -1]
    return (x[:20], y[:20]), (x[20:], y[20:])


task = fm.LogisticTask(
    name="a <b>small</b> task",
    load=load,
    features=2,
    standardise=False,
    metrics={"loss": fm.metrics.log_loss},
    server=fm.FedAvgM(lr=1.0, momentum=0.5),
    policy=fm.Policy(rounds=3, min_members=2, start_members=3),
)
"""


@dataclass
class HandMade:
    """The moot, and the store in which all blobs lie: anna's."""

    local: LocalMoot

    @property
    def homes(self) -> list[Home]:
        return list(self.local.homes.values())

    @property
    def ledger(self) -> Path:
        return self.local.folder / "ledger.sqlite"

    @property
    def store(self) -> Store:
        return self.homes[0].store()

    def moot(self, member: int = 0) -> Moot:
        clients = self.__dict__.setdefault("_clients", {})
        if member not in clients:
            clients[member] = self.homes[member].moot()
        return clients[member]

    def key(self, member: int) -> bytes:
        return bytes(self.homes[member].identity.account.key)

    def sign(self, members: Sequence[int], digest: bytes) -> dict[int, bytes]:
        return {member: statements.sign(self.key(member), digest) for member in members}

    def round(self, task: int, members: Sequence[int]) -> None:
        """Make the round that is open, of these members' contributions; everybody signs."""
        moot, store, everyone = self.moot(), self.store, range(len(self.homes))
        view = moot.round_view(task)
        key = Key(task, view.round, view.attempt)
        code = load_task(store.get(moot.task(task).bundle))
        state = read_state(store.get(view.parent))
        layout = layout_of(code, state)
        reveals, shards = {}, {}
        for member in members:
            path = self.homes[member].data()
            data = code.load(path[max(path)])
            context = Context(view.round, hashlib.sha256(bytes([member, view.round])).digest())
            (shards[member],), _ = make_shards(code, state, data, context, layout, 1)
            reveals[member] = Reveal(
                hashlib.sha256(b"salt" + bytes([member, *key])).digest(), (store.put(shards[member]),)
            )
            root = contribution_root(reveals[member].shards)
            self.moot(member).commit(*key, commit_hash(reveals[member].salt, seat_of(member), *key, root))
        survivors = bitmap_of(members)
        held = self.sign(everyone, statements.holding_digest(moot.domain, *key, survivors))
        moot.freeze(*key, {member: (survivors, signature) for member, signature in held.items()})
        total = sum_row(shards.values(), 0, layout, 1)[None]
        packed = fixed.encode_sum(total, 0, layout, 1, [len(members)])
        new, metrics = next_state(code, state, layout, [total], [len(members)])
        told = (encode_inputs(reveals), encode_hashes([blob_hash(packed)]), state_bytes(new))
        inputs, aggregate, model = (store.put(blob) for blob in told)
        digest = statements.model_digest(moot.domain, *key, view.parent, inputs, aggregate, model, survivors)
        moot.finalise(*key, inputs, aggregate, model, self.sign(everyone, digest))
        journal = Journal(self.homes[0].journal)
        journal.measured(task, view.round - 1, dict(metrics))
        journal.close()

    def expel(self, task: int, member: int, round: int) -> None:
        """Bar a member that has signed, as its contribution, what does not open its commit."""
        moot, key = self.moot(), Key(task, round, 0)
        shards = (blob_hash(b"something else"),)
        signature = statements.sign(
            self.key(member), statements.reveal_digest(moot.domain, *key, bytes(32), contribution_root(shards))
        )
        found = evidence.FalseReveal(
            member=member, task=task, round=round, attempt=0, salt=bytes(32), shards=shards, signature=signature
        )
        name = self.store.put(evidence.encode(found))
        digest = statements.expulsion_digest(moot.domain, task, member, name)
        moot.expel(task, member, name, self.sign(range(len(self.homes)), digest))


def data_file(path: Path, member: int) -> Path:
    rng = np.random.default_rng(member)
    x = rng.normal(size=(30, 2)) + member * 0.1
    y = (x.sum(axis=1) + 0.3 * rng.normal(size=30) > 0).astype(float)
    np.savetxt(path, np.column_stack([x, y]))
    return path


def story(folder: Path) -> HandMade:
    """Three rounds: anna, bert and carl; dora with them, for one round; then, carl having withdrawn, anna and bert.

    Carl moves to remove dora, and nobody else is for it. Dora is expelled for a reveal in the second round.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = HandMade(LocalMoot.found(folder, NAMES, name="a <i>moot</i>"))
    (folder / "task.py").write_text(TASK)
    data = {name: data_file(folder / f"{name}.txt", at) for at, name in enumerate(NAMES)}
    task = made.local.offer(folder / "task.py", data)
    made.local.grant(task, NAMES[:3])
    motion = governing.move(made.moot(2), Kind.REMOVE, 3)
    governing.vote(made.moot(0), motion.id, aye=False)
    made.moot(3).grant(task, max(made.homes[3].data()), 2.5, rounds=2)
    made.round(task, (0, 1, 2))
    made.round(task, (0, 1, 2, 3))
    made.moot(2).revoke(task)
    made.round(task, (0, 1))
    made.expel(task, 3, 2)
    return made
