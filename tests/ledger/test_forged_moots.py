"""A ticket names the contracts: those that only look like a moot's are refused before anyone joins."""

from pathlib import Path

import pytest

from folkmoot.errors import ChainError
from folkmoot.ledger import Chain, JoinFields, Moot, Signer, create_chain, open_chain, statements
from folkmoot.ledger.abi import MOOT
from folkmoot.ledger.address import created_address
from folkmoot.ledger.assembly import ASSEMBLY, join_arguments
from folkmoot.ledger.deployment import ran_its_constructor
from folkmoot.ledger.motions import Rules
from folkmoot.ledger.purse import POINTS, PURSE
from folkmoot.ledger.transact import Sender

KEY = b"\x11" * 32
FOUNDER = JoinFields("mallory", b"\x01" * 32, b"\x02" * 32, b"\x03" * 64)
NONE = "0x" + "00" * 20


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    create_chain(tmp_path / "ledger.sqlite", genesis_time=1_700_000_000)
    return open_chain(str(tmp_path / "ledger.sqlite"))


def deploy(
    chain: Chain,
    *,
    replaced: dict[int, bytes] | None = None,
    purse: tuple[int, int, int] = (0, 1, 3),
    minter: int = 2,
    elders: tuple[str, ...] = (),
    heritage: bytes = bytes(32),
) -> Moot:
    """A moot as its founder deploys it, but for what a thief would have otherwise; by number, moot, assembly, purse and
    points."""
    sender = Sender(chain, Signer(KEY))
    at = [created_address(sender.address, nonce) for nonce in range(4)]
    fixed = ("m", 3, statements.address_of(b"\x77" * 32), heritage, list(elders), at[2], list(Rules().words))
    codes = [
        MOOT.deploy(at[1]),
        ASSEMBLY.deploy(at[0], *fixed, *join_arguments(FOUNDER)),
        PURSE.deploy(*(at[i] for i in purse)),
        POINTS.deploy(at[minter]),
    ]
    for number, code in (replaced or {}).items():
        codes[number] = code
    for code in codes:
        sender.send(None, code)
    return Moot(chain, at[0], Signer(KEY))


def test_a_moot_as_the_client_founds_it_is_taken(chain: Chain) -> None:
    deploy(chain).check_code()


@pytest.mark.parametrize("number", [2, 3])
def test_another_contract_in_the_place_of_one_is_named(chain: Chain, number: int) -> None:
    contract = ("Purse", "Points")[number - 2]
    code = (PURSE.deploy(NONE, NONE, NONE), POINTS.deploy(NONE))[number - 2]
    forged = deploy(chain, replaced={number: code[:-200] + b"\x00" + code[-199:]})
    with pytest.raises(
        ChainError, match=rf"is not the contract {contract} of this version|no moot of this version would"
    ):
        forged.check_code()


def test_a_moot_with_one_byte_of_its_code_changed_is_refused(chain: Chain) -> None:
    sender = Sender(chain, Signer(KEY))
    at = created_address(sender.address, 1)
    code = bytearray(MOOT.deploy(at))
    place = code.find(b"not a member")
    code[place] ^= 1
    with pytest.raises(ChainError, match="is not the contract Moot of this version"):
        deploy(chain, replaced={0: bytes(code)}).check_code()


def test_a_purse_of_another_moot_is_refused(chain: Chain) -> None:
    with pytest.raises(ChainError, match="is another moot's"):
        deploy(chain, purse=(3, 1, 3)).check_code()


def test_points_that_somebody_else_makes_are_refused(chain: Chain) -> None:
    with pytest.raises(ChainError, match="is another moot's"):
        deploy(chain, minter=1).check_code()


def test_elders_are_refused_where_there_is_nothing_they_could_be_of(chain: Chain) -> None:
    friend = statements.address_of(b"\x22" * 32)
    with pytest.raises(ChainError, match="lets in others without a vote"):
        deploy(chain, elders=(friend,)).check_code()


def test_code_that_was_laid_there_with_a_storage_of_the_founder_s_own_is_refused(chain: Chain) -> None:
    """The code is this version's; what deployed it wrote into its storage first."""
    honest = deploy(chain)
    code = chain.code(honest.purse.points)
    sender = Sender(chain, Signer(b"\x12" * 32))
    # SSTORE 1 at 0; then copy what follows these 15 bytes, and return it
    prelude = bytes.fromhex("6001600055" + "61" + len(code).to_bytes(2, "big").hex() + "80" + "600f" + "5f39" + "5ff3")
    sent = sender.receipt(sender.send(None, prelude + code))
    assert sent.contract is not None
    assert POINTS.is_code(chain.code(sent.contract))
    assert not ran_its_constructor(chain, POINTS, sent.contract, 1)
    assert ran_its_constructor(chain, POINTS, honest.purse.points, 1)


def test_an_account_without_any_contract_is_no_moot(chain: Chain) -> None:
    with pytest.raises(ChainError, match=r"no moot of this version would|is not the contract"):
        Moot(chain, NONE).check_code()
