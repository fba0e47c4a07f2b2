"""What a moot that moves says of itself, from its ledger alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from folkmoot.errors import IntegrityError, LocalError
from folkmoot.ledger import JoinFields, Moot, PolicyTerms, Signer, create_chain, open_chain, statements
from folkmoot.ledger.motions import Kind
from folkmoot.ledger.records import Standing
from folkmoot.ledger.statements import address_of
from folkmoot.peer import governing
from folkmoot.peer.forebear import check_former, former_account, not_covered, taken_over
from folkmoot.peer.heritage import account_of
from folkmoot.peer.sources import Sources
from folkmoot.store import Store

ANNA = Signer(b"\xa1" * 32)
TERMS = PolicyTerms(rounds=1, min_members=1, start=1, train_seconds=1, exchange_seconds=1, final_seconds=1)


def founded(path: Path, heritage: bytes = bytes(32)) -> Moot:
    create_chain(path, genesis_time=1_700_000_000)
    founder = JoinFields(name="anna", endpoint=b"\x01" * 32, exchange=b"\x02" * 32, binding=b"b" * 64)
    voucher = address_of(b"\x77" * 32)
    chain = open_chain(str(path))
    return Moot.deploy(chain, ANNA, name="a moot", seats=1, voucher=voucher, founder=founder, heritage=heritage)


def one_round(moot: Moot, model: bytes) -> int:
    """A task of one round, whose model is this."""
    task = moot.propose(b"\xb0" * 32, b"\x90" * 32, TERMS)
    assert governing.move(moot, Kind.STEER, task, Standing.ADOPTED).done
    moot.grant(task, moot.describe(b"\xcc" * 32, 10))
    moot.commit(task, 1, 0, b"\x0c" * 32)
    held = statements.holding_digest(moot.domain, task, 1, 0, 1)
    moot.freeze(task, 1, 0, {0: (1, statements.sign(ANNA.key, held))})
    outcome = (b"\x01" * 32, b"\x02" * 32, model)
    digest = statements.model_digest(moot.domain, task, 1, 0, b"\x90" * 32, *outcome, survivors=1)
    moot.finalise(task, 1, 0, *outcome, {0: statements.sign(ANNA.key, digest)})
    return task


@pytest.mark.parametrize("moved", [True, False])
def test_a_task_that_begins_with_a_model_of_the_moot_before_leads_to_its_ledger(tmp_path: Path, moved: bool) -> None:
    model = b"\x4d" * 32
    old = founded(tmp_path / "old.sqlite")
    task = one_round(old, model)
    store = Store(tmp_path / "blobs")
    state = store.put(account_of(old, old.head(), "there").blob)
    new = founded(tmp_path / "new.sqlite", heritage=state)
    new.propose(b"\xb0" * 32, model, TERMS)
    new.propose(b"\xb0" * 32, b"\x91" * 32, TERMS)
    target = int(new.address, 16) if moved else 0x77
    assert governing.move(old, Kind.RETIRE, new.chain_id, target, int.from_bytes(state, "big")).done

    here, before = Sources(new, [store]), Sources(old)
    (said,) = taken_over(here)
    account = former_account(here)
    assert account is not None
    assert f"this moot continues {old.address} on chain {old.chain_id}" in not_covered(account)
    assert f"task 1 begins with the model of round 1 of task {task} of {old.address}" in said
    if moved:
        assert check_former(here, before) == [said]
        with pytest.raises(IntegrityError, match="not that one"):
            check_former(here, Sources(new))
    else:
        with pytest.raises(IntegrityError, match="has not moved to"):
            check_former(here, before)
    with pytest.raises(LocalError, match="in none of the given stores"):
        taken_over(Sources(new))


def test_the_account_of_a_moot_names_weights_and_open_bounties_as_of_its_block(tmp_path: Path) -> None:
    moot = founded(tmp_path / "ledger.sqlite")
    task = moot.propose(b"\xb0" * 32, b"\x90" * 32, TERMS)
    before = moot.head()
    assert governing.move(moot, Kind.WEIGH, 0, 3).done
    assert governing.move(moot, Kind.ENDOW, task, 100).done
    governing.move(moot, Kind.ENDOW, task, 20)

    account = account_of(moot, moot.head(), "there")
    assert account.weights == {ANNA.address: 3}
    assert account.bounties == ((task, moot.purse.points, 120),)
    assert account.tasks == ((task, "b0" * 32, 0, "90" * 32),)
    earlier = account_of(moot, before, "there")
    assert (earlier.weights, earlier.bounties) == ({}, ())
    assert earlier.blob != account.blob, "the hash that the motion names covers them"
