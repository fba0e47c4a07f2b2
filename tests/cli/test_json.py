"""What programs read: every verb's JSON, one vocabulary, pinned by a golden file.

``python tests/cli/test_json.py`` writes that file anew after a deliberate change; docs/commands.md lists its words.
"""

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1])]
import handmade
from typer.testing import CliRunner

from folkmoot.cli.app import command
from folkmoot.ledger.documents import LedgerPhase
from folkmoot.peer.home import Home
from folkmoot.peer.status import (
    Complaint,
    ErrorKind,
    Failure,
    Link,
    PeerStatus,
    PrivacyStatus,
    Step,
    TaskPhase,
    TaskStatus,
    Waiting,
    write_status,
)
from folkmoot.round.events import WaitKind

APP = command()
GOLDEN = Path(__file__).with_name("golden_json.json")
PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
ELSEWHERE = {"rewards fund", "rewards reclaim"}
"""They need a token of some other contract: ``test_rewards`` has them."""

PATTERNS = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "<time>"),
    (re.compile(r"moot1[a-z2-7]+"), "<ticket>"),
    (re.compile(r"(0x)?[0-9a-f]{128,130}"), "<signature>"),
    (re.compile(r"(0x)?[0-9a-f]{64}"), "<hash>"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "<short hash>"),
    (re.compile(r"0x[0-9a-fA-F]{40}"), "<account>"),
    (re.compile(r"host:\S+"), "<host>"),
    (re.compile(r"\b127\.0\.0\.1:\d+\+?"), "<address>"),
    (re.compile(r"\b\d{12,}\b"), "<chain id>"),
    (re.compile(r"/[^ \"]*/"), "<folder>/"),
)
VARIES = {
    "load_seconds",
    "training_seconds",
    "loss",
    "age",
    "pid",
    "chain_id",
    "block",
    "log",
    "blocks",
    "entries",
    "time_seconds",
    "value",
}


def masked(value: Any, key: str = "") -> Any:
    """The document without what differs from run to run, told by what it is."""
    if isinstance(value, dict):
        return {masked(name): masked(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [masked(item, key) for item in value]
    if isinstance(value, str):
        if key == "words":
            return "<words>"
        for pattern, name in PATTERNS:
            value = pattern.sub(name, value)
        return value
    varies = key in VARIES and isinstance(value, int | float) and not isinstance(value, bool)
    return "<number>" if varies else value


class Told:
    """What each verb printed as JSON, by the words that were typed."""

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {}

    def say(self, home: Path | None, *words: object, pin: str | None = None) -> Any:
        where = () if home is None else ("--home", str(home))
        ran = CliRunner().invoke(APP, [*map(str, words), *where, "--json"])
        assert ran.exit_code in (0, 3, 4), (words, ran.output, ran.exception)
        document = json.loads(ran.stdout)
        self.documents[pin or " ".join(str(word) for word in words if not Path(str(word)).is_absolute())] = document
        return document


def every_verb(folder: Path) -> Told:
    """Use every verb that prints JSON, in a moot made by hand."""
    made, told = handmade.story(folder / "story"), Told()
    anna, bert = (home.path for home in made.homes[:2])
    task = made.local.folder / "task.py"
    _write_status(made.homes[1])
    for words in (
        *(["members"], ["id"], ["tasks"], ["motions", "--all"], ["data", "list"], ["status"], ["privacy"]),
        *(["log", 1], ["show", 1, 1], ["rewards", "show", 1], ["verify"]),
    ):
        told.say(anna if words[0] in ("show", "verify") else bert, *words)
    told.say(bert, "wait", 1, "--round", 3, pin="wait")
    one_of_each = {row["kind"]: row for row in told.say(bert, "log")}
    told.documents["log"] = list(one_of_each.values())
    told.say(anna, "export", 1, "-o", folder / "model", pin="export")
    told.say(anna, "verify", "--export", folder / "model", pin="verify --export")
    told.say(anna, "unlearn", "dora", 1, pin="unlearn")
    told.say(bert, "wait", 2, "--timeout", 0, pin="wait, in vain")
    _decide(told, anna, bert)
    told.say(anna, "review", told.say(anna, "propose", task, pin="propose")["task"], pin="review")
    told.documents["review"]["files"] = sorted(told.documents["review"]["files"])
    told.say(anna, "withdraw", told.documents["propose"]["task"], pin="withdraw")
    told.say(None, "try", task, folder / "story" / "anna.txt", folder / "story" / "bert.txt", pin="try")
    told.say(anna, "check", task, "--data", folder / "story" / "anna.txt", pin="check")
    told.say(anna, "data", "add", folder / "story" / "anna.txt", "--records", 30, pin="data add")
    told.say(anna, "data", "update", 5, folder / "story" / "bert.txt", "--records", 30, pin="data update")
    told.say(anna, "backup", pin="backup")
    _found_and_join(told, folder)
    return told


def _decide(told: Told, anna: Path, bert: Path) -> None:
    moves = (
        *(("pause", 1), ("resume", 1), ("stop", 1), ("adopt", 2), ("remove", "carl"), ("weigh", "carl", 2)),
        *(("rekey", "carl", "0x" + "11" * 20), ("limits", "--min-members", 2), ("rules", "--ordinary", 55)),
        ("endow", 2, 5),
    )
    for number, words in enumerate(moves):
        moved = told.say((bert, anna)[number % 2], "move", *words, pin=f"move {words[0]}")
    told.say(bert, "vote", moved["motion"], "--against", pin="vote")
    told.say(bert, "enact", 1, pin="enact")


def _found_and_join(told: Told, folder: Path) -> None:
    ann, bob = folder / "ann", folder / "bob"
    ticket = told.say(ann, "new", "heart", "--as", "ann", pin="new")["ticket"]
    told.say(bob, "join", ticket, "--as", "bob", pin="join")
    told.say(bob, "invite", pin="invite")
    told.say(ann, "rewards", "claim", pin="rewards claim")
    moved = told.say(ann, "move", "migrate", folder / "next.sqlite", pin="move migrate")
    shutil.copytree(ann / "blobs", bob / "blobs")  # a running peer would have fetched them
    told.say(bob, "vote", moved["motion"], pin="vote, the last that is needed")
    told.say(bob, "follow", pin="follow")
    told.say(folder / "host", "new", "heart", "--hosted", "--as", "ann", pin="new --hosted")
    told.say(folder / "host", "host", "show", pin="host show")
    told.say(folder / "host", "host", "move", "ann", pin="host move")


def _write_status(home: Home) -> None:
    spent = PrivacyStatus(
        dataset=2, unit="member", delta=1e-6, planned=8.0, releases=3, spent=1.5, limit=2.0, allowed=4
    )
    task = TaskStatus(task=1, name="small", round=3, rounds=3, attempt=0, phase="failed", privacy=spent)
    task.metrics = {"loss": [(0, 0.5), (1, 0.25)]}
    task.waiting = Waiting(kind="commits", text="waits for the commits of carl", since=2.0, members=["carl"])
    task.failure = Failure(kind="task", step="train", text="it raised", since=1.0, last=2.0, round=3, where="task.py")
    link = Link(member=0, name="anna", connected=True, how="direct", last_contact=2.0, last_failure="lost", failed=1.0)
    told = PeerStatus(name="bert", pid=1, member=1, time=3.0, state="running", tasks=[task], peers=[link])
    told.errors = [Complaint(kind="disk", text="full", since=1.0, last=2.0)]
    write_status(home, told)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    return every_verb(tmp_path_factory.mktemp("json"))


def golden() -> dict[str, Any]:
    return json.loads(GOLDEN.read_text())


def test_every_verbs_json_is_what_the_golden_file_has(told: Told) -> None:
    found, pinned = masked(told.documents), golden()
    assert sorted(found) == sorted(pinned)
    for verb in found:
        assert found[verb] == pinned[verb], verb


def test_every_verb_that_prints_json_is_pinned() -> None:
    used = [verb.split(",")[0] for verb in golden()]
    for verb in {*verbs_with_json()} - ELSEWHERE:
        assert any(one == verb or one.startswith(f"{verb} ") for one in used), f"{verb} is not in {GOLDEN.name}"


def verbs_with_json() -> Iterator[str]:
    from typer.main import get_command

    def walk(command: Any, words: tuple[str, ...]) -> Iterator[str]:
        for name, below in getattr(command, "commands", {}).items():
            yield from walk(below, (*words, name))
        if any("--json" in option.opts and option.is_flag for option in command.params if hasattr(option, "is_flag")):
            yield " ".join(words)

    return walk(get_command(APP), ())


def values(document: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(document, dict):
        for name, item in document.items():
            yield from values(item, name)
    elif isinstance(document, list):
        for item in document:
            yield from values(item, key)
    else:
        yield key, document


def test_times_are_iso_members_are_named_and_no_word_is_a_number(told: Told) -> None:
    named = {"anna", "bert", "carl", "dora", "ann", "bob"}
    of_members = {
        "granted_by",
        "barred",
        "expected",
        "committed",
        "signed_by",
        "for",
        "against",
        "dealt",
        "owner",
        "first_survivors",
    }
    of_members |= {"proposed_by", "moved_by", "without"}
    for verb, document in told.documents.items():
        for key, value in values(document):
            if key in ("time", "until", "since", "commits_until", "final_until") and value is not None:
                assert PATTERNS[0][0].fullmatch(value), (verb, key, value)
            if key in of_members and value is not None:
                assert value in named, (verb, key, value)
            if key in ("phase", "standing", "state", "kind"):
                assert isinstance(value, str), (verb, key, value)
            if key in ("member", "task", "dataset", "motion", "attempt") and value is not None:
                assert isinstance(value, int), (verb, key, value)
                assert value >= 1, (verb, key)


def test_the_page_tells_of_every_word(told: Told) -> None:
    kinds = {*get_args(TaskPhase), *get_args(LedgerPhase), *get_args(ErrorKind), *get_args(WaitKind), *get_args(Step)}
    told_of = set(re.findall(r"`([a-z_]+)`", PAGE.read_text()))
    words = kinds | {key for document in told.documents.values() for key, _ in values(document)}
    names_of_things = {"anna", "bert", "carl", "dora", "loss"}
    missing = {word for word in words if word and word.islower()} - told_of - names_of_things
    assert not missing, sorted(missing)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        GOLDEN.write_text(json.dumps(masked(every_verb(Path(folder)).documents), indent=1) + "\n")
