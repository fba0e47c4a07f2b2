"""Moots on a chain that one member's peer hosts: they finish, notice a host that lies, and go on without it."""

import asyncio
import shutil
import threading
from pathlib import Path

import hosted_liars as liars
import pytest
import rig
from hosted_moot import HostedRig, hosted

from folkmoot.errors import ChainError, NetworkError
from folkmoot.ledger import Phase
from folkmoot.ledger.chainverify import verify_chain
from folkmoot.network import Node
from folkmoot.peer.founding import join, vote
from folkmoot.peer.home import Home
from folkmoot.peer.hostmessages import GetBlocks, HostMessage, Knock
from folkmoot.peer.offering import add_dataset

NAMES = ["anna", "bert", "carl", "dora"]
HONEST = NAMES[1:]
MOVE = "folkmoot host move MEMBER"


def finish(moot: HostedRig, task: int, name: str) -> None:
    """Wait until a member's copy shows the task as done."""
    moot.until("the task is done", lambda: moot.client(name).round_view(task).phase is Phase.DONE)


def reach(moot: HostedRig, task: int, round: int, name: str) -> None:
    moot.until(f"round {round} opens", lambda: moot.client(name).round_view(task).round >= round)


def noticed(moot: HostedRig, words: str, *names: str) -> list[str]:
    """What each of these peers says of the host, with these words."""
    said = [moot.said(name, words) for name in names]
    assert all("the host anna" in sentence and MOVE in sentence for sentence in said)
    return said


def test_a_task_trains_to_its_end_and_a_newcomer_with_a_ticket_comes_in_meanwhile(tmp_path: Path) -> None:
    source = rig.tiny_task(tmp_path / "task.py", rounds=25, start_members=4, train_seconds=10, pause=0.1)
    data = rig.tiny_data(tmp_path, [*NAMES, "late"])
    late = data.pop("late")
    with hosted(tmp_path / "moot", NAMES) as moot:
        with pytest.raises(ChainError, match="this voucher admits nobody"):  # the founding seats are taken
            join(tmp_path / "moot" / "stranger", moot.ticket, member="stranger")
        task = moot.offer(source, data)
        reach(moot, task, 2, "bert")
        ticket, _ = vote(moot.homes["anna"])
        for before, name in (("anna", "bert"), ("bert", "carl")):
            moot.caught_up(name, before)  # to vote on a motion one has to see it
            vote(moot.homes[name], ticket)
        index = moot.enter("late", ticket)
        moot.run("late")
        add_dataset(moot.homes["late"], late, 5)
        moot.grant(task, "late")
        finish(moot, task, "late")
        assert max(final.survivors >> index & 1 for final in moot.client("late").finals(task)) == 1
        moot.same_chain(*moot.names)
        moot.filled(task, "late")
        for name in ("anna", "late"):  # every copy is the whole chain, to the last byte
            verify_chain(moot.copy(name).path)
        assert moot.verify("late").rounds == 25


def test_the_founder_s_machine_is_gone_for_good_and_the_moot_goes_on_with_another_host(tmp_path: Path) -> None:
    source = rig.tiny_task(tmp_path / "task.py", rounds=6, start_members=4, train_seconds=2, pause=0.05)
    with hosted(tmp_path / "moot", NAMES) as moot:
        task = moot.offer(source, rig.tiny_data(tmp_path, NAMES))
        reach(moot, task, 3, "bert")
        moot.kill("anna")
        shutil.rmtree(moot.forget("anna").path)
        noticed(moot, "does not answer", *HONEST)
        before = moot.client("bert").finals(task)
        moot.vote("carl", "bert", "carl")
        moot.until("two of four are not enough", lambda: len(moot.copy("carl").book.state.wishes) == 1)
        assert moot.copy("carl").book.term == 0
        moot.vote("carl", "dora")
        moot.hosted_by("carl", *HONEST)
        finish(moot, task, "dora")
        moot.same_chain(*HONEST)
        assert moot.client("bert").finals(task)[: len(before)] == before  # nothing of the history is lost
        moot.filled(task, "bert")
        assert moot.verify("bert").rounds == 6


def test_a_host_that_shows_two_chains_is_named_by_every_peer_and_the_moot_goes_on_from_where_they_part(
    tmp_path: Path,
) -> None:
    source = rig.tiny_task(tmp_path / "task.py", rounds=6, start_members=4, train_seconds=2, pause=0.05)
    with hosted(tmp_path / "moot", NAMES, lie=liars.shows_another_chain_to, victim=3) as moot:
        task = moot.offer(source, rig.tiny_data(tmp_path, NAMES))
        reach(moot, task, 3, "bert")
        liars.begin_to_lie(moot.homes["anna"].path)
        hashes = set()
        for sentence in noticed(moot, "signed two blocks", *HONEST):
            words = sentence.partition("signed two blocks ")[2].partition(";")[0]
            number, _, both = words.partition(": ")
            hashes.add((int(number), frozenset(both.split(" and "))))
        ((number, both),) = hashes  # all name the same two
        assert len(both) == 2
        with pytest.raises(ChainError, match="signed two blocks"):
            moot.client("bert").describe(bytes(32), 1)
        liars.lie_no_more(moot.homes["anna"].path)
        moot.vote("carl", *HONEST)
        moot.hosted_by("carl", *NAMES)  # the liar too learns that it hosts no more
        appointment = moot.copy("dora").book.state.appointment
        assert appointment is not None
        assert appointment.height < number
        finish(moot, task, "dora")
        moot.same_chain(*NAMES)
        report = verify_chain(moot.copy("dora").path)
        assert report.head == moot.copy("carl").newest.hash


def test_a_host_that_leaves_out_a_member_s_transactions_is_named_by_every_peer(tmp_path: Path) -> None:
    with hosted(tmp_path / "moot", NAMES, lie=liars.leaves_out_transactions_of, victim=3) as moot:
        moot.settled()
        liars.begin_to_lie(moot.homes["anna"].path)
        sending = threading.Thread(target=moot.try_to_describe, args=("dora",), daemon=True)
        sending.start()
        for sentence in noticed(moot, "leaves out a transaction of dora", *HONEST):
            assert "gave no block with it" in sentence
        moot.vote("bert", *HONEST)
        moot.hosted_by("bert", *HONEST)
        sending.join(rig.PATIENCE)  # what the last host left out the next one takes
        assert moot.sent == ["dora"]


def test_a_host_that_forges_a_transaction_is_named_by_every_peer(tmp_path: Path) -> None:
    with hosted(tmp_path / "moot", NAMES, lie=liars.forges_a_transaction) as moot:
        moot.settled()
        liars.begin_to_lie(moot.homes["anna"].path)
        moot.client("bert").describe(bytes(32), 1)
        for sentence in noticed(moot, "does not hold", *HONEST):
            assert "leaves a gap" in sentence
        before = moot.copy("bert").number
        with pytest.raises(ChainError, match="which does not hold"):
            moot.client("carl").describe(bytes(32), 1)
        moot.vote("dora", *HONEST)
        moot.hosted_by("dora", *HONEST)
        moot.client("carl").describe(bytes(32), 1)
        assert moot.copy("carl").number > before


@pytest.mark.long
def test_blocks_that_the_host_keeps_back_come_from_the_other_members_and_it_is_named(tmp_path: Path) -> None:
    source = rig.tiny_task(tmp_path / "task.py", rounds=40, start_members=4, train_seconds=10, pause=0.1)
    with hosted(tmp_path / "moot", NAMES, lie=liars.keeps_back_blocks_from, victim=3) as moot:
        task = moot.offer(source, rig.tiny_data(tmp_path, NAMES))
        reach(moot, task, 3, "bert")
        liars.begin_to_lie(moot.homes["anna"].path)
        noticed(moot, "keeps back blocks", "dora")
        finish(moot, task, "bert")
        moot.same_chain(*NAMES)


@pytest.mark.long
def test_a_host_that_comes_back_after_another_was_voted_for_learns_of_it_and_takes_part(tmp_path: Path) -> None:
    source = rig.tiny_task(tmp_path / "task.py", rounds=30, start_members=4, train_seconds=2, pause=0.1)
    with hosted(tmp_path / "moot", NAMES) as moot:
        task = moot.offer(source, rig.tiny_data(tmp_path, NAMES))
        reach(moot, task, 2, "bert")
        moot.kill("anna")
        moot.client("anna").describe(bytes(32), 1)  # what it puts on its chain on its own does not count
        moot.vote("bert", *HONEST)
        moot.hosted_by("bert", *HONEST)
        moot.run("anna")
        moot.hosted_by("bert", "anna")
        finish(moot, task, "anna")
        finals = moot.client("bert").finals(task)
        assert finals[-1].survivors & 1
        moot.same_chain(*NAMES)
        for name in NAMES:
            moot.kill(name)
        moot.run(*NAMES)  # after a restart they know the host of the day from their disks
        moot.client("dora").describe(bytes(32), 1)
        moot.same_chain(*NAMES)


@pytest.mark.long
def test_a_host_whose_disk_is_put_back_from_old_gets_its_own_blocks_from_the_others(tmp_path: Path) -> None:
    with hosted(tmp_path / "moot", NAMES[:3]) as moot:
        moot.settled()
        moot.terminate("anna")
        home = moot.homes["anna"].path
        shutil.copytree(home, tmp_path / "backup")
        moot.run("anna")
        for name in NAMES[:3]:
            moot.client(name).describe(bytes(32), 1)
        moot.same_chain(*NAMES[:3])
        before = moot.copy("bert").newest
        moot.kill("anna")
        shutil.rmtree(moot.forget("anna").path)
        shutil.copytree(tmp_path / "backup", home)
        moot.local.homes["anna"] = Home.open(home)  # type: ignore[index]
        moot.run("anna")
        assert moot.copy("anna").block(before.number) == before
        moot.client("carl").describe(bytes(32), 1)
        moot.same_chain(*NAMES[:3])
        assert not any(moot.copy(name).book.state.trouble for name in NAMES[:3])


@pytest.mark.long
def test_a_host_hands_over_while_a_task_is_trained(tmp_path: Path) -> None:
    source = rig.tiny_task(tmp_path / "task.py", rounds=30, start_members=4, train_seconds=5, pause=0.1)
    with hosted(tmp_path / "moot", NAMES) as moot:
        task = moot.offer(source, rig.tiny_data(tmp_path, NAMES))
        for term, host in enumerate(("bert", "carl", "anna"), start=1):
            reach(moot, task, 6 * term, "dora")
            moot.vote(host, *NAMES)
            moot.hosted_by(host, *NAMES, term=term)
        finish(moot, task, "dora")
        moot.same_chain(*NAMES)
        assert all(final.survivors.bit_count() == 4 for final in moot.client("dora").finals(task))


@pytest.mark.long
def test_a_member_that_lost_its_folder_gets_the_chain_back_with_its_keys_alone(tmp_path: Path) -> None:
    with hosted(tmp_path / "moot", NAMES[:2]) as moot:
        moot.terminate("bert")
        words, folder = moot.homes["bert"].identity.words(), moot.forget("bert").path
        shutil.rmtree(folder)
        identity = type(moot.homes["anna"].identity).from_words(words)
        home, index = join(folder, moot.ticket, member="bert", identity=identity)
        assert index == 1
        moot.local.homes["bert"] = home  # type: ignore[index]
        for path in home.path.glob("ledger.sqlite*"):  # and the copy alone comes back by itself
            if path.is_file():
                path.unlink()
        moot.run("bert")
        moot.same_chain("anna", "bert")


def test_a_stranger_without_a_voucher_gets_nothing_from_a_host(tmp_path: Path) -> None:
    with hosted(tmp_path / "moot", NAMES[:1], seats=2) as moot:
        endpoint = moot.homes["anna"].identity.endpoint
        addresses = moot.ticket.ledger.partition("@")[2].split(",")

        async def knock(*questions: object) -> list[str]:
            node = Node(b"\x07" * 32, HostMessage, guest=True)
            await node.start()
            node.allow({endpoint: addresses})
            heard = []
            try:
                for question in questions:
                    try:
                        reply, _ = await node.request(endpoint, question, timeout=rig.PATIENCE)  # type: ignore[arg-type]
                        heard.append(type(reply).__name__)
                    except NetworkError as error:
                        heard.append(str(error))
            finally:
                await node.close()
            return heard

        (first,) = asyncio.run(knock(GetBlocks(0, 1)))
        assert "a guest knocks first" in first
        (second,) = asyncio.run(knock(Knock(b"")))
        assert "ThisChain" not in second
        assert "a signature has 65 bytes" in second
        (third,) = asyncio.run(knock(Knock(bytes(31) + b"\x01" + bytes(31) + b"\x01" + b"\x1b")))
        assert "ThisChain" not in third
