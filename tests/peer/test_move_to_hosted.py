"""A moot moves to a chain that a member hosts, and from one: who votes looks at it first, let in by the main key."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
import rig
from hosted_moot import hosted

from folkmoot.errors import ChainError, LocalError
from folkmoot.ledger import Chain, Moot, Phase, create_chain
from folkmoot.ledger.chainfile import ChainFile
from folkmoot.ledger.hosting import HostUrl
from folkmoot.ledger.motions import Motion, Rules
from folkmoot.peer import governing, guest, hostedcopy, migration
from folkmoot.peer.founding import fields_of
from folkmoot.peer.home import Home, HomeTaken
from folkmoot.peer.identity import Identity
from folkmoot.peer.offering import add_dataset, propose
from folkmoot.peer.outbox import open_copy

NAMES = ["anna", "bert", "carl"]


def moved_to_a_host(moot: rig.Rig) -> tuple[Motion, Home]:
    """Anna's motion to move the moot to a chain that her second peer hosts, and that peer's home; it does not run."""
    motion = migration.propose_move(moot.homes["anna"], None, listen="127.0.0.1:0")
    host = Home.open(migration.host_folder(moot.homes["anna"], motion))
    moot.local.homes["host"] = host  # type: ignore[index]
    state = motion.words[2].to_bytes(32, "big")
    for name in NAMES[1:]:
        if name in moot.processes:
            moot.until(f"{name} has the account", lambda name=name: moot.homes[name].store().has(state))
        else:
            moot.homes[name].store().put(moot.homes["anna"].store().get(state))
    return motion, host


def passes(moot: rig.Rig, motion: Motion) -> None:
    """The others look at the successor and vote for it."""
    for name in NAMES[1:]:
        migration.check_successor(moot.homes[name], motion)
        motion = governing.vote(moot.homes[name].moot(), motion.id)
    assert motion.done


def trains_there(moot: rig.Rig, source: Path) -> Moot:
    """The peers start, and a task is done, where the moot is by now."""
    record, _ = propose(moot.homes["anna"], source)
    moot.start(*[name for name in NAMES if name not in moot.processes])
    there = moot.homes["bert"].moot()
    adoption = moot.until("bert can vote on the task", lambda: governing.adoption_of(there, record.id))
    assert governing.vote(there, adoption.id).done
    for name in NAMES:
        moot.homes[name].moot().grant(record.id, max(moot.homes[name].data()))
    moot.until("it is done there", lambda: there.round_view(record.id).phase is Phase.DONE)
    return there


def test_a_moot_moves_from_a_file_to_a_chain_that_a_member_hosts_and_trains_there(tmp_path: Path) -> None:
    with rig.moot(tmp_path / "moot", NAMES) as moot:
        for name, path in rig.tiny_data(tmp_path, NAMES).items():
            add_dataset(moot.homes[name], path, 5)
        motion, host = moved_to_a_host(moot)
        moot.start("host")
        passes(moot, motion)
        for name in NAMES:
            moot.terminate(name)
            migration.follow(moot.homes[name])
            if name != "anna":
                moot.start(name)
                moot.until(
                    f"{name} has announced itself there", lambda name=name: moot.homes[name].moot().me().addresses
                )
        with pytest.raises(HomeTaken, match="a peer already runs"), moot.homes["anna"].chain_lock():
            pass
        moot.terminate("host")
        del moot.local.homes["host"]  # type: ignore[attr-defined]
        there = trains_there(moot, rig.tiny_task(tmp_path / "task.py", rounds=1))
        assert [m.name for m in there.members()] == NAMES
        assert there.about().heritage == motion.words[2].to_bytes(32, "big")
        assert moot.homes["anna"].config.bind == host.config.bind
        assert not [error.text for error in moot.peer_status("bert").errors]


def test_a_moot_moves_from_a_hosted_chain_to_a_file_and_to_the_next_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hostedcopy, "LOOK_SECONDS", 0.3)  # the old host has left already
    with hosted(tmp_path / "moot", NAMES) as moot:
        for name, path in rig.tiny_data(tmp_path, NAMES).items():
            add_dataset(moot.homes[name], path, 5)
        cards = {NAMES[d.owner]: d.card for d in moot.homes["anna"].moot().datasets()}
        motion = migration.propose_move(moot.homes["anna"], str(tmp_path / "next.sqlite"))
        state = motion.words[2].to_bytes(32, "big")
        moot.until("all have the account", lambda: all(home.store().has(state) for home in moot.homes.values()))
        for name in ("bert", "carl"):
            migration.check_successor(moot.homes[name], motion)
            motion = governing.vote(moot.homes[name].moot(), motion.id)
        moot.same_chain(*NAMES)
        with pytest.raises(HomeTaken, match="a peer already runs"):
            migration.follow(moot.homes["anna"])
        moot.stop()
        for name in reversed(NAMES):
            migration.follow(moot.homes[name])
        assert [m.name for m in moot.homes["carl"].moot().members()] == ["anna", "carl", "bert"]
        assert [d.owner for d in moot.homes["carl"].moot().datasets()] == [1, 2, 0]

        motion, host = moved_to_a_host(moot)
        moot.start("host")
        passes(moot, motion)
        for name in NAMES:
            migration.follow(moot.homes[name])
        there = moot.homes["carl"].moot()
        assert (there.address, there.chain_id) == (host.config.contract, host.config.chain_id)
        for name in NAMES:
            ((dataset, path),) = moot.homes[name].data().items()
            described = there.datasets()[dataset - 1]
            assert (there.members()[described.owner].name, Path(path).stem) == (name, name)
            assert described.card == cards[name]


def test_nobody_votes_for_a_hosted_successor_that_it_could_not_look_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rig.moot(tmp_path / "moot", NAMES, start=False) as moot:
        motion, _ = moved_to_a_host(moot)
        with monkeypatch.context() as patch:
            patch.setattr(guest, "SECONDS", 0.5)
            with pytest.raises(
                ChainError, match=r"cannot be reached within .* if it does not run, its mover starts it"
            ):
                migration.check_successor(moot.homes["bert"], motion)
        moot.start("host")
        migration.check_successor(moot.homes["bert"], motion)

        stranger = Home(tmp_path / "stranger")
        stranger.ensure_identity(Identity.create())
        stranger.write_config(moot.homes["bert"].config)
        stranger.store().put(moot.homes["anna"].store().get(motion.words[2].to_bytes(32, "big")))
        with pytest.raises(ChainError, match="this voucher admits nobody"):
            migration.check_successor(stranger, motion)


def test_a_host_of_another_successor_does_not_pass_for_this_one(tmp_path: Path) -> None:
    with rig.moot(tmp_path / "moot", NAMES, start=False) as moot:
        _, other = moved_to_a_host(moot)
        moot.start("host")
        moot.until("it is there", lambda: moot.peer_status("host").addresses)
        motion, _ = moved_to_a_host(moot)
        with pytest.raises(LocalError, match=f"is chain {other.config.chain_id}, and the moot moves to chain"):
            migration.check_successor(moot.homes["bert"], motion, other.config.ledger)
        assert not migration.host_folder(moot.homes["bert"], motion).exists(), "the true one can be looked at still"
        with pytest.raises(LocalError, match="cannot be that ledger"):
            migration.check_successor(moot.homes["bert"], motion, str(tmp_path / "some.sqlite"))
        with pytest.raises(LocalError, match="a chain that some peer hosts already"):
            migration.propose_move(moot.homes["anna"], other.config.ledger)


def test_a_host_that_is_no_member_of_the_successor_is_refused(tmp_path: Path) -> None:
    """defence: peers speak with members alone, so a moot on a stranger's chain would stand still."""
    with rig.moot(tmp_path / "moot", NAMES, start=False) as moot:
        motion, host = moved_to_a_host(moot)
        account = migration.check_successor(moot.homes["anna"], motion)
        stranger = HostUrl(Identity.create().endpoint, ("127.0.0.1:4100",))
        strange = msgspec.structs.replace(account, ledger=str(stranger))
        with pytest.raises(LocalError, match="the host of the successor's chain is none of its members"):
            migration._check_there(motion, strange, moot.client(), host.moot(), gone=False)


def test_a_host_that_puts_another_chain_in_place_of_the_one_that_was_voted_for_is_found_out(tmp_path: Path) -> None:
    with rig.moot(tmp_path / "moot", NAMES, start=False) as moot:
        motion, host = moved_to_a_host(moot)
        moot.start("host")
        migration.check_successor(moot.homes["bert"], motion)
        moot.terminate("host")

        meta = ChainFile(host.path / "ledger.sqlite").meta
        for kept in (*host.path.glob("ledger.sqlite*"), *host.path.glob("hosting.sqlite*")):
            shutil.rmtree(kept) if kept.is_dir() else kept.unlink()
        create_chain(host.path / "ledger.sqlite", chain_id=meta.chain_id, genesis_time=meta.genesis_time)
        made = Moot.deploy(
            Chain(open_copy(host.path, host.config.ledger, host.identity.endpoint)),
            host.identity.account,
            name="test",
            seats=1,
            voucher=host.identity.account.address,
            founder=fields_of(host.identity, "anna"),
            rules=Rules(50, 50, 10),
            heritage=motion.words[2].to_bytes(32, "big"),
            elders=[moot.homes["bert"].identity.account.address],
        )
        assert (made.address, made.chain_id) == (host.config.contract, host.config.chain_id)
        made.describe(bytes(32), 1)
        moot.start("host")
        with pytest.raises(ChainError, match="hash does not follow from block"):
            migration.check_successor(moot.homes["bert"], motion)
