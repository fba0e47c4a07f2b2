"""What a moot that moves says of itself, from its ledger alone."""

from __future__ import annotations

from pathlib import Path

from folkmoot.ledger import JoinFields, Moot, PolicyTerms, Signer, create_chain, open_chain
from folkmoot.ledger.motions import Kind
from folkmoot.ledger.statements import address_of
from folkmoot.peer import governing
from folkmoot.peer.migration import account_of

ANNA = Signer(b"\xa1" * 32)
TERMS = PolicyTerms(rounds=1, min_members=1, start=1, train_seconds=1, exchange_seconds=1, final_seconds=1)


def test_the_account_of_a_moot_names_weights_and_open_bounties_as_of_its_block(tmp_path: Path) -> None:
    create_chain(tmp_path / "ledger.sqlite", genesis_time=1_700_000_000)
    founder = JoinFields(name="anna", endpoint=b"\x01" * 32, exchange=b"\x02" * 32, binding=b"b" * 64)
    voucher = address_of(b"\x77" * 32)
    chain = open_chain(str(tmp_path / "ledger.sqlite"))
    moot = Moot.deploy(chain, ANNA, name="a moot", seats=1, voucher=voucher, founder=founder)
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
