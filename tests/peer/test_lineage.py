"""Where a model comes from, and that nobody can change a word of it: model, card, statement, grants and rounds."""

import base64
import copy as copies
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import handmade
import msgspec
import pytest
from asked_node import Lie, asked
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from folkmoot.errors import IntegrityError, LocalError
from folkmoot.ledger.abi import MOOT
from folkmoot.ledger.chronicle import Entry
from folkmoot.ledger.witness import signed_call
from folkmoot.peer.attestation import open_envelope, seal, statement
from folkmoot.peer.audit import audit, canonical
from folkmoot.peer.export import PREDICATE, export_folder
from folkmoot.peer.inspection import inspect
from folkmoot.peer.lineage import Lineage, Reference, lineage, spending
from folkmoot.peer.register import Register
from folkmoot.peer.sources import Sources, compare, opened
from folkmoot.peer.verify import replay, verify
from folkmoot.task import Policy


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> handmade.HandMade:
    return handmade.story(tmp_path_factory.mktemp("story"))


@pytest.fixture(scope="module")
def sources(made: handmade.HandMade) -> Sources:
    return Sources(made.moot(), [made.store])


@pytest.fixture(scope="module")
def exported(made: handmade.HandMade, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    export_folder(made.homes[0], 1, folder, licence="apache-2.0")
    return folder


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "copy"))


def at(sources: Sources, where: Reference) -> Entry:
    (entry,) = [e for e in sources.history if e.reference == msgspec.to_builtins(where)]
    return entry


# ---- the lineage itself ----------------------------------------------------------------------------------------------


def test_every_survivor_of_every_round_leads_to_its_dataset_its_grant_and_its_commit(sources: Sources) -> None:
    found = lineage(sources, 1)
    assert [[share.name for share in step.survivors] for step in found.steps] == [
        ["anna", "bert", "carl"],
        ["anna", "bert", "carl", "dora"],
        ["anna", "bert"],
    ]
    for step in found.steps:
        assert at(sources, step.final)["model"].hex() == step.model
        for share in step.survivors:
            grant, commit = at(sources, share.grant), at(sources, share.commit)
            assert (grant.kind, grant["member"], grant["dataset"]) == ("Granted", share.member, share.dataset)
            assert (commit.kind, commit["round"]) == ("Committed", step.round)
            assert commit["members"] >> share.member & 1
    dora = next(share for share in found.steps[1].survivors if share.name == "dora")
    assert (dora.epsilon_limit, dora.last) == (2.5, 2)
    assert at(sources, found.course[0].adopted).kind == "Steered"


def test_parents_lead_from_the_first_state_to_the_model_of_any_round(sources: Sources) -> None:
    found = lineage(sources, 1, 2)
    assert found.steps[0].parent == found.course[0].genesis
    assert [step.parent for step in found.steps[1:]] == [step.model for step in found.steps[:-1]]
    assert found.model == found.steps[-1].model
    with pytest.raises(LocalError, match="its last final round is 3"):
        lineage(sources, 1, 4)


def test_what_noise_costs_is_counted_from_the_commits_on_the_ledger(sources: Sources) -> None:
    course = lineage(sources, 1).course
    assert spending(sources.history, course, Policy(rounds=3)) == ()
    noisy = Policy(rounds=3, secrecy="sums", epsilon=8.0, clip=1.0)
    spent = spending(sources.history, course, noisy)
    assert [(s.member, s.releases) for s in spent] == [(0, 3), (1, 3), (2, 2), (3, 1)]
    assert spent[3].epsilon < spent[2].epsilon < spent[0].epsilon <= 8.0


# ---- consent, from events alone --------------------------------------------------------------------------------------


def without(sources: Sources, *kinds: str, member: int | None = None) -> list[Entry]:
    return [e for e in sources.history if e.kind not in kinds or (member is not None and e.member != member)]


def changed(sources: Sources, kind: str, of: int, **fields: Any) -> list[Entry]:
    return [
        replace(e, fields={**e.fields, **fields}) if (e.kind, e.member) == (kind, of) else e for e in sources.history
    ]


def test_a_commit_counted_without_a_live_grant_is_named_by_round_and_member(sources: Sources) -> None:
    with pytest.raises(IntegrityError, match="task 1, round 2: a commit of dora was counted without a live grant"):
        Register.of(without(sources, "Granted", "Revoked", member=3))
    with pytest.raises(IntegrityError, match="task 1, round 2: a commit of dora was counted without a live grant"):
        Register.of(changed(sources, "Granted", 3, last=1))
    with pytest.raises(IntegrityError, match="task 1, round 1: a commit of bert was counted without a live grant"):
        Register.of(changed(sources, "Granted", 1, until=1_000))


def test_a_history_that_could_not_have_come_so_is_refused(sources: Sources) -> None:
    def refused(history: list[Entry], why: str) -> None:
        with pytest.raises(IntegrityError, match=why):
            Register.of(history)

    history = sources.history
    first = next(e for e in history if e.kind == "Committed")
    removal = replace(first, kind="Removed", fields={"member": 1}, transaction=bytes(32), log_index=-1)
    refused([*history[: history.index(first)], removal, *history[history.index(first) :]], "of bert was taken after it")
    refused(without(sources, "Steered"), "while the task was not adopted")
    refused(without(sources, "Described"), "is for dataset 1, which is not its own")
    refused(without(sources, "Proposed"), "task 1, which was never proposed")
    refused(without(sources, "Committed"), "anna is among its survivors and never committed")
    refused(changed(sources, "Seated", 2, member=3), "member 4 is seated before member 3")
    refused(changed(sources, "Expelled", 3, signers=0b11), "dora was expelled by fewer than a quorum")
    final = [replace(e, fields={**e.fields, "members": 0b111}) if e.kind == "Finalised" else e for e in history]
    refused(final, "its members are not those whom the moot had")
    retired = replace(
        first, kind="Retired", fields={"chain_id": 1, "successor": "", "state": b""}, transaction=bytes(32)
    )
    refused([retired, *history], "was proposed after the moot had moved")


def test_the_register_knows_how_each_grant_ended(sources: Sources) -> None:
    ended = {consent.member: consent.how for consent in sources.register.consents}
    assert ended == {0: "", 1: "", 2: "revoked", 3: "lapsed"}


GRANTED, REVOKED = ("0x" + MOOT.topics[name].hex() for name in ("Granted", "Revoked"))


def dora_left_out(logs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [log for log in logs if not (log["topics"][0] in (GRANTED, REVOKED) and int(log["topics"][2], 16) == 3)]


def dora_made_up(logs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Her grant is told to be in the transaction that gave carl's."""
    granted = [log for log in logs if log["topics"][0] == GRANTED]
    if len(granted) > 3:
        granted[3] |= {name: granted[2][name] for name in ("transactionHash", "blockNumber", "blockHash")}
        granted[3]["logIndex"] = "0x1"
    return logs


def dora_without_a_limit(logs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for log in logs:
        if log["topics"][0] == GRANTED:
            log["data"] = log["data"].replace(f"{2_500_000:064x}", "0" * 64)
    return logs


def dora_for_ever(logs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for log in logs:
        if log["topics"][0] == GRANTED and int(log["topics"][2], 16) == 3:
            log["data"] = log["data"][:-64] + f"{99:064x}"
    return logs


def test_over_a_node_a_grant_that_is_left_out_is_found_and_so_is_what_another_node_has(
    made: handmade.HandMade,
) -> None:
    with asked(made.ledger) as node:
        assert verify(node.url, made.moot().address, [made.homes[0].blobs]).consents == 9
        with opened(made.ledger, None) as own, opened(node.url, made.moot().address) as told:
            assert compare(own, node.url) == len(own.history)
            assert canonical(audit(told)) == canonical(audit(own))
        node.lie = dora_left_out
        with pytest.raises(IntegrityError, match="round 2: a commit of dora was counted without a live grant"):
            verify(node.url, made.moot().address, [made.homes[0].blobs])
        with opened(made.ledger, None) as own, pytest.raises(IntegrityError, match="the ledger has Granted where"):
            compare(own, node.url)


@pytest.mark.parametrize("lie", [dora_made_up, dora_without_a_limit, dora_for_ever])
def test_over_a_node_a_grant_that_its_member_did_not_sign_is_found(made: handmade.HandMade, lie: Lie) -> None:
    with asked(made.ledger) as node:
        node.lie = lie
        with pytest.raises(IntegrityError, match=r"task 1: the grant of dora \(block .*is not what its member signed"):
            verify(node.url, made.moot().address, [made.homes[0].blobs])


def test_a_transaction_is_signed_by_whom_its_signature_says_and_by_nobody_the_node_names() -> None:
    from eth_account import Account

    key = "0x" + "11" * 32
    common = {"nonce": 3, "gas": 21_000, "to": "0x" + "22" * 20, "value": 0, "data": "0xabcd", "chainId": 5}
    kinds: list[dict[str, Any]] = [
        {**common, "gasPrice": 7},
        {
            **common,
            "gasPrice": 7,
            "type": 1,
            "accessList": [{"address": "0x" + "33" * 20, "storageKeys": ["0x" + "44" * 32]}],
        },
        {**common, "maxFeePerGas": 9, "maxPriorityFeePerGas": 1, "type": 2},
    ]
    for kind in kinds:
        signed = Account.sign_transaction(kind, key)
        told: dict[str, Any] = {name: hex(value) for name, value in kind.items() if isinstance(value, int)}
        told |= {"to": kind["to"], "input": kind["data"], "accessList": kind.get("accessList", [])}
        told |= {"v": hex(signed.v), "r": hex(signed.r), "s": hex(signed.s), "from": "0x" + "99" * 20}
        call = signed_call(told, bytes(signed.hash), 5)
        assert call == (Account.from_key(key).address, "0x" + "22" * 20, b"\xab\xcd")
        for change in ({"input": "0xabce"}, {"nonce": "0x4"}, {"r": "0x1"}):
            with pytest.raises(IntegrityError, match="the node tells is another transaction"):
                signed_call({**told, **change}, bytes(signed.hash), 5)
        with pytest.raises(IntegrityError, match=r"another (chain|transaction)"):
            signed_call(told, bytes(signed.hash), 6)
        with pytest.raises(IntegrityError, match="the node does not have it"):
            signed_call(None, bytes(signed.hash), 5)
        with pytest.raises(IntegrityError, match="cannot be read"):
            signed_call({**told, "type": "0x3"}, bytes(signed.hash), 5)


# ---- what is exported ------------------------------------------------------------------------------------------------


def test_an_export_holds_by_itself_and_against_the_ledger(exported: Path, sources: Sources) -> None:
    alone = inspect(exported)
    assert (alone.signer, alone.against_ledger, len(alone.notes)) == ("anna", False, 1)
    held = inspect(exported, sources, replay(sources))
    assert (held.against_ledger, held.notes) == (True, [])
    assert held.lineage == lineage(sources, 1)


def test_the_model_is_what_others_load_and_its_optimiser_is_beside_it(exported: Path) -> None:
    from safetensors.numpy import load_file

    assert set(load_file(exported / "model.safetensors")) == {"bias", "weights", "standard/mean", "standard/scale"}
    assert any(name.startswith("server/") for name in load_file(exported / "state.safetensors"))


def test_the_envelope_is_one_that_the_tools_of_others_check(exported: Path) -> None:
    line = json.loads((exported / "lineage.intoto.jsonl").read_bytes())
    told = json.loads(base64.b64decode(line["payload"]))
    assert told["_type"] == "https://in-toto.io/Statement/v1"
    assert {subject["name"] for subject in told["subject"]} == {"README.md", "model.safetensors", "state.safetensors"}
    public = told["predicate"]["signer"]["endpoint"]
    key = SSlibKey(line["signatures"][0]["keyid"], "ed25519", "ed25519", {"public": public})
    assert len(Envelope.from_dict(copies.deepcopy(line)).verify([key], 1)) == 1
    line["payload"] = base64.b64encode(base64.b64decode(line["payload"]).replace(b"anna", b"eve!", 1)).decode()
    with pytest.raises(VerificationError):
        Envelope.from_dict(line).verify([key], 1)


def test_the_card_has_front_matter_and_shows_no_markup_of_others(exported: Path) -> None:
    text = (exported / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    told = {key: json.loads(value) for key, value in (line.split(": ", 1) for line in front.splitlines())}
    assert (told["license"], told["library_name"], told["metrics"]) == ("apache-2.0", "folkmoot", ["loss"])
    assert "federated-learning" in told["tags"]
    (measured,) = told["model-index"][0]["results"][0]["metrics"]
    assert measured["type"] == "loss"
    assert "<b>" not in body
    assert "<i>" not in body
    sections = [line for line in body.splitlines() if line.startswith("## ")]
    assert sections == [
        *("## What it is", "## Data", "## How it was made", "## Evaluation", "## Privacy", "## Limits"),
    ]


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("model.safetensors", "the model was altered"),
        ("state.safetensors", "the state that the model is of was altered"),
        ("README.md", "the model card was altered"),
    ],
)
def test_a_changed_file_is_named(copy: Path, file: str, said: str) -> None:
    data = bytearray((copy / file).read_bytes())
    data[-3] ^= 1
    (copy / file).write_bytes(data)
    with pytest.raises(IntegrityError, match=said):
        inspect(copy)


def test_a_changed_statement_is_named(copy: Path, made: handmade.HandMade) -> None:
    file = copy / "lineage.intoto.jsonl"
    line = json.loads(file.read_bytes())
    payload = base64.b64decode(line["payload"])
    for changed_payload in (payload.replace(b'"round":2', b'"round":3', 1), payload[:-1], b"{}"):
        file.write_text(json.dumps({**line, "payload": base64.b64encode(changed_payload).decode()}))
        with pytest.raises(IntegrityError, match="the statement was altered"):
            inspect(copy)
    for other in ("?", json.dumps({**line, "payloadType": "text/plain"})):
        file.write_text(other)
        with pytest.raises(IntegrityError, match="the statement was altered"):
            inspect(copy)


def signed_anew(copy: Path, made: handmade.HandMade, change: Callable[[Any], None], member: int = 0) -> None:
    """Another statement about the same files, signed by a member."""
    file = copy / "lineage.intoto.jsonl"
    payload, _ = open_envelope(file.read_bytes())
    predicate = json.loads(payload)["predicate"]
    change(predicate)
    names = ("README.md", "model.safetensors", "state.safetensors")
    files = {name: (copy / name).read_bytes() for name in names}
    file.write_bytes(seal(statement(files, PREDICATE, predicate), made.homes[member].identity.endpoint_secret))


def other_grant(predicate: Any) -> None:
    predicate["lineage"]["steps"][1]["survivors"][3]["grant"]["block"] -= 1


def other_dataset(predicate: Any) -> None:
    predicate["lineage"]["steps"][0]["survivors"][1]["dataset"] = 3


def without_a_survivor(predicate: Any) -> None:
    del predicate["lineage"]["steps"][1]["survivors"][3]


def other_round(predicate: Any) -> None:
    predicate["lineage"]["steps"][1]["inputs"] = "00" * 32


def other_model_on_the_way(predicate: Any) -> None:
    predicate["lineage"]["steps"][0]["model"] = predicate["lineage"]["steps"][1]["parent"] = "11" * 32


def a_round_left_out(predicate: Any) -> None:
    del predicate["lineage"]["steps"][1]


def other_code(predicate: Any) -> None:
    predicate["lineage"]["course"][0]["bundle"] = "22" * 32


def other_policy(predicate: Any) -> None:
    predicate["policy"]["rounds"] = 4


def other_metric(predicate: Any) -> None:
    predicate["metrics"][-1][2] = 0.1


def other_signer(predicate: Any) -> None:
    predicate["signer"]["name"] = "bert"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_grant, "task 1, round 2: the grant of dora is block 21.* in the statement, and block 22"),
        (other_dataset, "task 1, round 1: of the grant of bert the dataset is 3 in the statement, and 2 on the ledger"),
        (without_a_survivor, "task 1, round 2: its survivor dora is missing"),
        (other_round, "task 1, round 2: its inputs is 0000"),
        (other_model_on_the_way, "task 1, round 1: its model is 1111"),
        (a_round_left_out, "round 2 of task 1 does not follow"),
        (other_code, "task 1: its bundle is 2222"),
        (other_policy, "the policy's rounds is 4 in the statement, and 3 on the ledger"),
        (other_metric, "task 1, round 2: its loss is 0.1 in the statement"),
        (other_signer, "signed by a key of 'bert' that is no member's"),
    ],
)
def test_what_a_member_signs_that_is_not_so_is_named(
    copy: Path, made: handmade.HandMade, sources: Sources, change: Callable[[Any], None], said: str
) -> None:
    signed_anew(copy, made, change)
    with pytest.raises(IntegrityError, match=said):
        inspect(copy, sources, replay(sources))


def test_another_key_than_the_signers_is_refused(copy: Path, made: handmade.HandMade) -> None:
    signed_anew(copy, made, lambda predicate: None, member=1)
    with pytest.raises(IntegrityError, match="is not signed by the key"):
        inspect(copy)

    def claim(predicate: Any) -> None:
        predicate["signer"]["endpoint"] = made.homes[1].identity.endpoint.hex()

    signed_anew(copy, made, claim, member=1)
    with pytest.raises(IntegrityError, match="does not vouch for the account"):
        inspect(copy)


def test_an_export_of_another_moot_is_not_held_against_this_one(
    exported: Path, tmp_path: Path, made: handmade.HandMade
) -> None:
    other = handmade.HandMade(handmade.LocalMoot.found(tmp_path, handmade.NAMES, name="another", seed=3))
    with pytest.raises(IntegrityError, match="no member's on the ledger"):
        inspect(exported, Sources(other.moot()))
    assert isinstance(inspect(exported).lineage, Lineage)
