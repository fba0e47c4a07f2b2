"""Commands of a hosted moot's members while their peers do not run: they reach the host by themselves."""

import logging
import threading
from pathlib import Path
from typing import Any

import pytest
import rig
from hosted_moot import HostedRig, hosted

from folkmoot.errors import ChainError, LedgerRefused, NetworkError
from folkmoot.ledger import Moot
from folkmoot.network import Message, Node
from folkmoot.network.peers import LEAVING
from folkmoot.peer import guest, hostedcopy
from folkmoot.peer.founding import join
from folkmoot.peer.home import Home
from folkmoot.peer.hostmessages import GetBlocks
from folkmoot.peer.offering import add_dataset

NAMES = ["anna", "bert", "carl"]


def command(moot: HostedRig, name: str) -> Moot:
    """The moot as a command of this member sees it that is started now."""
    return Home.open(moot.homes[name].path).moot()


def test_the_commands_that_join_prints_work_in_the_order_in_which_it_prints_them(tmp_path: Path) -> None:
    source = rig.tiny_task(tmp_path / "task.py", rounds=2, start_members=3)
    with hosted(tmp_path / "moot", NAMES, start=False) as moot:
        for name, path in rig.tiny_data(tmp_path, NAMES).items():
            add_dataset(moot.homes[name], path, 5)
        assert [d.owner for d in command(moot, "carl").datasets()] == [0, 1, 2]
        task = moot.local.offer(source, {})
        for name in NAMES:
            command(moot, name).grant(task, max(moot.homes[name].data()))
        moot.run("bert", "carl")
        moot.until("the task is done", lambda: moot.client("carl").round_view(task).phase.name == "DONE")
        (where,) = moot.peer_status("bert").addresses
        assert where.startswith("127.0.0.1:")
        assert where in moot.client("anna").members()[1].addresses


def test_a_refusal_is_the_contract_s_with_and_without_a_running_peer(tmp_path: Path) -> None:
    with hosted(tmp_path / "moot", NAMES[:2], start=False) as moot:
        for _ in range(2):
            with pytest.raises(LedgerRefused, match=r"no such task|no grant"):
                command(moot, "bert").revoke(7)
            command(moot, "bert").describe(bytes(32), 1)
            moot.run("bert") if "bert" not in moot.processes else None
        moot.same_chain("anna", "bert")


def test_commands_that_come_at_once_and_a_peer_that_starts_meanwhile_wait_for_each_other(tmp_path: Path) -> None:
    with hosted(tmp_path / "moot", NAMES[:2], start=False) as moot:
        sending = [threading.Thread(target=moot.try_to_describe, args=("bert",), daemon=True) for _ in range(3)]
        for thread in sending:
            thread.start()
        moot.run("bert")
        for thread in sending:
            thread.join(rig.PATIENCE)
        assert moot.sent == ["bert"] * 3
        moot.same_chain("anna", "bert")
        assert len(command(moot, "anna").datasets()) == 1  # it was one transaction, however often it was sent


def test_a_host_that_does_not_answer_is_said_and_what_is_here_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(guest, "SECONDS", 0.5)
    monkeypatch.setattr(hostedcopy, "LOOK_SECONDS", 0.5)
    with hosted(tmp_path / "moot", NAMES[:2], start=False) as moot:
        moot.kill("anna")
        with caplog.at_level(logging.WARNING):
            assert len(command(moot, "bert").members()) == 2
        assert "which may be old" in caplog.text
        assert "cannot be reached" in caplog.text
        with pytest.raises(ChainError, match="cannot be reached within"):
            command(moot, "bert").describe(bytes(32), 1)


def test_an_old_ticket_and_a_member_that_was_away_find_the_host_that_the_chain_has_moved_to(tmp_path: Path) -> None:
    with hosted(tmp_path / "moot", NAMES, seats=4) as moot:
        moot.settled()
        moot.terminate("carl")
        moot.vote("bert", "anna", "bert")
        moot.hosted_by("bert", "anna", "bert")
        assert moot.enter("dora") == 3  # by a ticket that names anna
        command(moot, "carl").describe(bytes(32), 1)
        assert moot.copy("carl").book.host == moot.homes["bert"].identity.endpoint
        assert len(command(moot, "dora").datasets()) == 1
        moot.run("carl", "dora")
        moot.same_chain(*NAMES, "dora")


def test_a_host_that_lost_its_folder_is_told_that_its_old_ticket_names_itself(tmp_path: Path) -> None:
    with hosted(tmp_path / "moot", NAMES[:1], seats=2) as moot:
        identity = moot.homes["anna"].identity
        with pytest.raises(ChainError, match=r"this member itself; ask another one for a new ticket \(folkmoot invite"):
            join(tmp_path / "again", moot.ticket, member="anna", identity=identity)


def test_who_joins_a_long_chain_and_is_cut_off_again_and_again_goes_on_from_what_has_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest, "PAUSE", 0.01)
    with hosted(tmp_path / "moot", NAMES[:1], seats=2) as moot:
        for number in range(900):  # more than four pages
            moot.client("anna").describe(number.to_bytes(32, "big"), 1)
        asked: list[int] = []
        true = Node.request

        async def request(node: Node, peer: bytes, message: Message, **rest: Any) -> tuple[Message, bytes]:
            answer = await true(node, peer, message, **rest)
            if isinstance(message, GetBlocks):
                asked.append(message.first)
                if len(asked) % 2:  # the connection goes before the answer is here
                    for link in node._peers[peer]._links:
                        link.close(LEAVING, "gone")
                    raise NetworkError("went away during the exchange: closed")
            return answer

        monkeypatch.setattr(Node, "request", request)
        come: list[int] = []
        home, index = join(tmp_path / "bert", moot.ticket, member="bert", progress=come.append)
        assert index == 1
        assert come == sorted(come)
        assert come[0] == 200
        assert asked[0] == 1
        assert asked == sorted(asked)  # nothing was asked for twice once it had come
        moot.local.homes["bert"] = home  # type: ignore[index]
        assert moot.copy("bert").number > 900


def test_a_host_that_is_gone_for_good_in_the_middle_is_given_up_and_the_next_try_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest, "PAUSE", 0.01)
    monkeypatch.setattr(guest, "SECONDS", 0.5)
    with hosted(tmp_path / "moot", NAMES[:1], seats=2) as moot:
        for number in range(450):
            moot.client("anna").describe(number.to_bytes(32, "big"), 1)

        def die(blocks: int) -> None:
            if "anna" in moot.processes:
                moot.kill("anna")

        with pytest.raises(ChainError, match="the host of the chain"):
            join(tmp_path / "bert", moot.ticket, member="bert", progress=die)
        monkeypatch.setattr(guest, "SECONDS", 15.0)
        moot.run("anna")
        come: list[int] = []
        join(tmp_path / "bert", moot.ticket, member="bert", progress=come.append)
        assert come[0] > 200  # the first page is not asked for again
