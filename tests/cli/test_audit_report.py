"""The auditor's verbs: a report that leads to the ledger line by line, and a changed word of it is found."""

import json
import re
import subprocess
from collections.abc import Callable
from contextlib import closing
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path
from shutil import which
from typing import Any

import handmade
import pytest
from command_line import Folkmoot

from folkmoot.cli.audit_page import page
from folkmoot.ledger.chronicle import entries
from folkmoot.ledger.records import iso
from folkmoot.peer import governing
from folkmoot.peer.audit import audit, canonical, read_report, references
from folkmoot.peer.duties import DUTIES
from folkmoot.peer.journal import Journal
from folkmoot.peer.migration import propose_move
from folkmoot.peer.ownbook import own_record
from folkmoot.peer.sources import opened
from folkmoot.peer.verify import replay
from folkmoot.task import Policy

BROWSER = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := which(name))), None)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> handmade.HandMade:
    return handmade.story(tmp_path_factory.mktemp("story"))


@pytest.fixture(scope="module")
def report(made: handmade.HandMade) -> dict[str, Any]:
    with opened(made.ledger, None, [made.homes[0].blobs]) as sources:
        return json.loads(canonical(audit(sources, replayed=replay(sources))))


@pytest.fixture
def file(report: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "report.json"
    path.write_bytes(canonical(report))
    return path


# ---- what it says ----------------------------------------------------------------------------------------------------


def test_it_says_who_trained_on_what_under_which_consent_and_when(
    made: handmade.HandMade, report: dict[str, Any]
) -> None:
    uses = [(use["round"], use["name"], use["dataset"]) for use in report["uses"]]
    assert uses == [
        *((1, "anna", 1), (1, "bert", 2), (1, "carl", 3)),
        *((2, "anna", 1), (2, "bert", 2), (2, "carl", 3), (2, "dora", 4)),
        *((3, "anna", 1), (3, "bert", 2)),
    ]
    history = {(e.block, e.log_index): e for e in entries(made.moot())}
    for use in report["uses"]:
        grant, commit, final = (history[use[key]["block"], use[key]["log"]] for key in ("grant", "commit", "final"))
        assert (grant.kind, grant["member"] + 1, grant["dataset"]) == ("Granted", use["member"], use["dataset"])
        assert (commit.kind, final.kind, final["round"]) == ("Committed", "Finalised", use["round"])
        assert use["time"] == iso(commit.time)


def test_it_says_with_which_effect(report: dict[str, Any]) -> None:
    assert [(e["round"], e["metric"]) for e in report["effects"]] == [(0, "loss"), (1, "loss"), (2, "loss")]
    assert report["effects"][0]["change"] is None
    assert all(effect["change"] < 0 for effect in report["effects"][1:])
    assert report["replay"]["consents"] == len(report["uses"])


def test_it_says_what_was_refused_and_why(report: dict[str, Any]) -> None:
    said = [(refusal["what"], refusal["why"]) for refusal in report["refusals"]]
    motion, lapsed, revoked, expelled = said
    assert motion[0] == "motion 2 (remove dora) was not enacted"
    assert lapsed == ("the grant of dora, dataset 4, ended", "its time or its last round had passed")
    assert revoked == ("the grant of carl, dataset 3, ended", "its member withdrew it")
    assert expelled[0] == "dora was expelled"
    votes = {(vote["name"], vote["aye"]) for vote in report["decisions"][1]["votes"]}
    assert votes == {("carl", True), ("anna", False)}


def test_every_line_leads_to_an_entry_of_the_ledger(made: handmade.HandMade, report: dict[str, Any]) -> None:
    known = {(e.block, "0x" + e.transaction.hex(), e.log_index) for e in entries(made.moot())}
    named = {(r["block"], r["transaction"], r["log"]) for r in references(report)}
    assert named <= known
    assert len(named) > 30


def test_a_report_on_one_task_leaves_out_what_is_about_none(made: handmade.HandMade, report: dict[str, Any]) -> None:
    with opened(made.ledger, None) as sources:
        one = audit(sources, 1)
    assert [decision["motion"] for decision in one["decisions"]] == [1]
    assert len(one["refusals"]) == len(report["refusals"]) - 1
    assert (one["effects"], one["replay"]) == ([], None)


def test_each_duty_names_sections_that_are_there(report: dict[str, Any]) -> None:
    assert {duty["law"].split(",")[0] for duty in DUTIES} == {"EU AI Act", "GDPR", "HIPAA"}
    for duty in DUTIES:
        assert all(part in report or part == "digest" for part in duty["where"])
        assert bool(duty["where"]) == (duty["extent"] != "no")
        assert duty["left"] or duty["extent"] == "yes"


# ---- it cannot be changed --------------------------------------------------------------------------------------------


def other_dataset(report: Any) -> None:
    report["uses"][6]["dataset"] = 1


def without_a_use(report: Any) -> None:
    del report["uses"][-1]


def other_consent(report: Any) -> None:
    report["consents"][2].update(how=None, ended=None)


def other_round(report: Any) -> None:
    report["tasks"][0]["rounds"][1]["model"] = "00" * 32


def other_effect(report: Any) -> None:
    report["effects"][2]["value"] = 0.01


def a_refusal_left_out(report: Any) -> None:
    del report["refusals"][3]


def other_place(report: Any) -> None:
    report["members"][1]["joined"]["block"] += 1


def other_answer(report: Any) -> None:
    report["duties"][0]["extent"] = "yes"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_dataset, "uses[6].dataset is 1 in it, and 4 by the ledger"),
        (without_a_use, "uses[8] is missing in it"),
        (other_consent, "consents[2].ended is null in it"),
        (other_round, 'tasks[0].rounds[1].model is "0000'),
        (other_effect, "effects[2].value is 0.01 in it"),
        (a_refusal_left_out, "refusals[3] is missing in it"),
        (other_place, "members[1].joined.block is 6 in it, and 5 by the ledger"),
        (other_answer, 'duties[0].extent is "yes" in it'),
        (lambda report: report.update(digest="00" * 32), "its digest is not that of its content"),
        (lambda report: report.update(extra=1), "extra is 1 in it, and missing"),
    ],
)
def test_an_altered_report_is_caught_and_the_place_named(
    folkmoot: Folkmoot, made: handmade.HandMade, file: Path, change: Callable[[Any], None], said: str
) -> None:
    altered = read_report(file)
    change(altered)
    file.write_bytes(canonical(altered))
    ran = folkmoot("audit", "--check", file, "--ledger", made.ledger, "--blobs", made.homes[0].blobs)
    assert ran.code == 1
    assert f"the report was altered: {said}" in ran.err


def test_a_true_report_holds_and_stays_true_as_the_ledger_grows(
    folkmoot: Folkmoot, made: handmade.HandMade, file: Path, tmp_path: Path
) -> None:
    words = ("audit", "--check", file, "--ledger", made.ledger)
    assert "holds: every line" in folkmoot(*words, "--blobs", made.homes[0].blobs).out
    made.moot(1).describe(bytes(range(32)), 7)
    made.moot(1).propose(bytes(range(32)), bytes(range(32)), Policy(rounds=1, min_members=2))
    assert "holds: every line" in folkmoot(*words, "--blobs", made.homes[0].blobs).out
    without = folkmoot(*words)
    assert "without --blobs they are not compared" in without.out
    assert without.code == 0
    for text in ("?", "{}", '{"format": "folkmoot-audit-3"}'):
        (tmp_path / "none.json").write_text(text)
        assert "is no audit report" in folkmoot("audit", "--check", tmp_path / "none.json").err


# ---- the page --------------------------------------------------------------------------------------------------------


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_one_file_that_people_and_their_readers_can_read(report: dict[str, Any]) -> None:
    text = page(report)
    parsed = _Page()
    parsed.feed(text)
    assert not parsed.open
    names = [tag for tag, _ in parsed.tags]
    assert not {"script", "img", "link", "iframe", "object"} & set(names)
    assert not any(name.startswith("on") or name == "src" for _, attrs in parsed.tags for name in attrs)
    assert names.count("table") == names.count("caption") == names.count("thead") >= 10
    assert all(attrs.get("scope") == "col" for tag, attrs in parsed.tags if tag == "th")
    assert ("html", {"lang": "en"}) in parsed.tags
    anchors = {attrs["id"] for tag, attrs in parsed.tags if tag == "section"}
    links = {str(attrs["href"]) for tag, attrs in parsed.tags if tag == "a"}
    assert links <= {f"#{name}" for name in anchors}
    assert "<i>moot</i>" not in text
    assert "&lt;i&gt;moot&lt;/i&gt;" in text


def test_the_page_answers_first_what_is_asked_first(report: dict[str, Any]) -> None:
    text = page(report)
    sections = re.findall(r'<section id="(\w+)">', text)
    assert sections[:3] == ["summary", "tasks", "members"]
    assert sections[-1] == "duties"
    told = unescape(re.sub(r"<[^>]*>", " ", text[text.index('id="summary"') : text.index('id="tasks"')]))
    assert "Task 1: adopted, 3 of 3 rounds are final" in told
    assert "anna (3 rounds), bert (3 rounds), carl (2 rounds), dora (1 round)" in told
    assert report["tasks"][0]["rounds"][-1]["model"][:12] in told
    assert f"loss {report['effects'][-1]['value']:.6g}, of the model after round" in told
    assert "dora was expelled (a quorum checked the evidence" in told


def test_hashes_are_short_and_whole_when_pointed_at(report: dict[str, Any]) -> None:
    text = page(report)
    model = report["tasks"][0]["rounds"][0]["model"]
    assert f'<code title="{model}">{model[:12]}</code>' in text
    shown = re.sub(r"<[^>]*>", " ", text[: text.index('id="refusals"')])
    assert set(re.findall(r"[0-9a-f]{64}", shown)) == {report["digest"]}


@pytest.mark.skipif(BROWSER is None, reason="no browser (chromium, google-chrome) to measure the page in")
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_the_width_of_a_phone(report: dict[str, Any], tmp_path: Path, width: int) -> None:
    # a frame as wide as the phone, for a browser's own window does not get that narrow
    frame = f'<iframe id="f" width="{width}" height="800" style="border:0" srcdoc="{escape(page(report))}"></iframe>'
    ask = "f.onload = () => document.title = f.contentDocument.documentElement.scrollWidth"
    (tmp_path / "frame.html").write_text(f"<!doctype html>{frame}<script>{ask}</script>")
    assert BROWSER is not None
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path / 'user'}"]
    ran = subprocess.run(
        [BROWSER, *flags, "--virtual-time-budget=5000", "--dump-dom", f"file://{tmp_path / 'frame.html'}"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    measured = re.search(r"<title>(\d+)</title>", ran.stdout)
    assert measured is not None, ran.stderr[-500:]
    assert 0 < int(measured[1]) <= width


# ---- the verbs -------------------------------------------------------------------------------------------------------


def test_a_report_is_written_for_people_and_for_programs(
    folkmoot: Folkmoot, made: handmade.HandMade, tmp_path: Path
) -> None:
    home = made.homes[0]
    short = folkmoot("audit", "--home", home.path)
    assert "3 rounds were replayed" in short.out
    page_file, json_file = tmp_path / "a.html", tmp_path / "a.json"
    ran = folkmoot("audit", 1, "--html", page_file, "--json", json_file, "--home", home.path)
    assert ran.code == 0, ran.err
    told = read_report(json_file)
    assert told["digest"] in page_file.read_text()
    assert json_file.read_bytes() == canonical(told)
    assert "the moot has no task 9" in folkmoot("audit", 9, "--home", home.path).err


def test_a_peers_own_folder_adds_what_it_refused_and_did_without(made: handmade.HandMade) -> None:
    home = made.homes[1]
    lines = [
        {"time": 1.0, "event": "refused a message", "member": 2, "kind": "Push", "reason": "not <held>"},
        {"time": 2.0, "event": "trained", "task": 1},
        {"time": 3.0, "event": "refused a message", "member": 2, "kind": "Push", "reason": "not <held>"},
    ]
    home.log_file.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"cut sh')
    with closing(Journal(home.journal)) as journal:
        journal.override("sandbox", "config.json")
    own = own_record(home)
    times = {"first": "1970-01-01T00:00:01Z", "last": "1970-01-01T00:00:03Z"}
    assert own["refused"] == [{"event": "refused a message", "why": "not <held>", "times": 2, **times}]
    assert [(o["what"], o["how"]) for o in own["overrides"]] == [("sandbox", "config.json")]
    with opened(made.ledger, None) as sources:
        text = page(audit(sources, own=own))
    assert "not &lt;held&gt;" in text


def test_the_whole_moot_is_told_in_words(folkmoot: Folkmoot, made: handmade.HandMade) -> None:
    told = folkmoot("log", "--home", made.homes[1].path).out
    assert "carl moves to remove dora (motion 2)" in told
    assert "the grant of carl to task 1 ends (dataset 3): revoked" in told
    listed = json.loads(folkmoot("log", "--json", "--home", made.homes[1].path).out)
    assert listed[0]["kind"] == "Seated"
    assert [row["round"] for row in json.loads(folkmoot("log", 1, "--json", "--home", made.homes[1].path).out)] == [
        1,
        2,
        3,
    ]


def test_a_model_is_shown_exported_and_checked_by_who_took_no_part(
    folkmoot: Folkmoot, made: handmade.HandMade, tmp_path: Path
) -> None:
    home = made.homes[0].path
    shown = folkmoot("show", 1, 2, "--home", home).out
    assert "task 1, round 2" in shown
    assert "dora" in shown
    told = json.loads(folkmoot("show", 1, "--json", "--ledger", made.ledger).out)
    assert [step["round"] for step in told["steps"]] == [1, 2, 3]
    folder = tmp_path / "model"
    assert folkmoot("export", 1, "--out", folder, "--license", "mit", "--home", home).code == 0
    assert folkmoot("export", 1, "-o", tmp_path / "m.safetensors", "--home", home).code == 0
    alone = folkmoot("verify", "--export", folder)
    assert "only the ledger tells" in alone.out
    sources = ("--ledger", made.ledger, "--blobs", made.homes[0].blobs)
    held = folkmoot("verify", "--export", folder, *sources)
    assert "its 3 rounds and every grant are as on the ledger" in held.out
    assert "verified: 3 rounds replayed, every hash holds" in folkmoot("verify", *sources).out
    (folder / "README.md").write_text("another card")
    assert "the model card was altered" in folkmoot("verify", "--export", folder).err


def test_doing_without_a_member_is_proposed_by_name(folkmoot: Folkmoot, made: handmade.HandMade) -> None:
    told = json.loads(folkmoot("unlearn", "dora", 1, "--json", "--home", made.homes[0].path).out)
    start = told["continues"]
    assert (start["task"], start["round"], told["without"], told["rounds"]) == (1, 1, ["dora"], 2)
    assert "no member 'eve'" in folkmoot("unlearn", "eve", 1, "--home", made.homes[0].path).err


def test_verify_replays_the_moot_that_this_one_continues_from_its_ledger(folkmoot: Folkmoot, tmp_path: Path) -> None:
    old = handmade.story(tmp_path / "old")
    home, successor = old.homes[0], tmp_path / "new.sqlite"
    motion = propose_move(home, str(successor))
    for member in range(1, len(old.homes)):
        if not motion.done:
            motion = governing.vote(old.moot(member), motion.id)
    assert motion.done
    given = ("verify", "--ledger", successor, "--blobs", home.blobs)
    assert f"not covered: this moot continues {old.moot().address}" in folkmoot(*given).out
    told = folkmoot(*given, "--former", old.ledger)
    assert "3 rounds of the moot before this one replayed, which moved here" in told.out
    assert "not covered: this moot" not in told.out
    wrong = folkmoot(*given, "--former", successor)
    assert wrong.code == 1
