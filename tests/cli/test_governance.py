"""Follow docs/governance.md to the letter: every shell block, in a shell, in order, while peers run as processes."""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_quickstart import Reader

sys.path.append(str(Path(__file__).parents[1] / "ledger"))
from anvil import anvil

GOVERNANCE = Path(__file__).parents[2] / "docs" / "governance.md"
PATIENCE = 180


def blocks() -> list[tuple[str, list[str]]]:
    """Heading and commands of each shell block."""
    found = []
    for section in re.split(r"^## ", GOVERNANCE.read_text(), flags=re.MULTILINE)[1:]:
        heading = section.splitlines()[0]
        found += [(heading, block.strip().splitlines()) for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL)]
    return found


class Member(Reader):
    """A reader who sees, besides, what the ledger says."""

    ledger = "ledger.sqlite"

    def environment(self) -> dict[str, str]:
        return super().environment() | {"LEDGER": self.ledger}

    def ask(self, command: str) -> object:
        return json.loads(self.run(f"folkmoot {command} --json"))

    def rounds(self) -> list[dict[str, list[str]]]:
        said = self.ask("log 1 --home emil")
        assert isinstance(said, list)
        return said

    def until(self, what: str, look: Callable[[], object]) -> None:
        give_up = time.monotonic() + PATIENCE
        while not look():
            assert time.monotonic() < give_up, f"waited in vain until {what}"
            time.sleep(0.5)

    def more_rounds(self, count: int = 2) -> None:
        """Wait until so many more rounds are final."""
        now = len(self.rounds())
        self.until(f"{count} more rounds are final", lambda: len(self.rounds()) >= now + count)


@pytest.fixture
def member(tmp_path: Path) -> Iterator[Member]:
    member = Member(tmp_path)
    yield member
    for peer in member.peers:
        peer.kill()
        peer.wait()


def follow(member: Member) -> None:
    """Do what the page says, and look, where it says what is to be seen, whether it is."""
    for heading, commands in blocks():
        if heading.endswith(("consent withdrawn", "the founder's machine is gone")):
            member.more_rounds()
        if heading.endswith("rewards"):
            member.until("the bounty is split", lambda: split(member))
        member.follow(commands)
        if heading.endswith("consent withdrawn"):
            member.more_rounds(3)
            assert all("dora" not in row["survivors"] for row in member.rounds()[-2:]), "dora still counts"
        if heading.endswith("the founder's machine is gone"):
            member.peers[0].wait()
            member.more_rounds(3)
            assert member.rounds()[-1]["survivors"] == ["bert", "carl"]
        if heading.endswith("a member leaves"):
            member.more_rounds(2)
            assert member.rounds()[-1]["members"] == ["bert", "carl", "dora", "emil"], "anna still belongs"
        alive = member.peers[1:] if not (member.folder / "anna").exists() else member.peers
        assert all(peer.poll() is None for peer in alive), heading


def split(member: Member) -> bool:
    rewards = member.ask("rewards 1 --home emil")
    assert isinstance(rewards, dict)
    return sum(settled["amount"] for settled in rewards["settlements"]) == 1000


def check_what_came_of_it(member: Member) -> None:
    told = member.ask("rewards 1 --home emil")
    assert isinstance(told, dict)
    paid = sum(settled["amount"] for settled in told["settlements"])
    assert paid == 1000
    report = json.loads((member.folder / "audit.json").read_text())
    assert report
    verified = next(said for command, said in member.said.items() if command.startswith("folkmoot verify"))
    assert "every hash holds" in verified
    assert (member.folder / "audit.html").read_text().startswith("<!doctype html>")


def test_five_members_decide_train_pay_and_audit_on_an_embedded_ledger(member: Member) -> None:
    follow(member)
    check_what_came_of_it(member)


def test_they_do_the_same_on_an_ethereum_node(member: Member) -> None:
    with anvil(block_time=1, base_fee=0) as node:
        member.ledger = node.url
        follow(member)
        check_what_came_of_it(member)
