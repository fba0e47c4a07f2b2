"""What can be seen of the contracts without running them, where the usual analysers do not read Vyper of today."""

from __future__ import annotations

import re

import pytest
from vyper.compiler import compile_code

from folkmoot.ledger import build

contracts = pytest.mark.parametrize("name", build.CONTRACTS)
OUTWARD = {"CALL", "CALLCODE", "DELEGATECALL", "CREATE", "CREATE2", "SELFDESTRUCT"}
FORTUNE = {"ORIGIN", "BLOCKHASH", "DIFFICULTY", "PREVRANDAO", "COINBASE", "GASPRICE", "BASEFEE", "SELFBALANCE"}
"""Of the transaction or its block; none of it is the same on all chains, or a member's own."""
LATER = {"PUSH0", "MCOPY", "TLOAD", "TSTORE", "BLOBHASH", "BLOBBASEFEE"}
"""Since Shanghai, Cancun."""
CALLS = {"Moot": set(), "Assembly": {"CALL"}, "Purse": {"CALL"}, "Points": set()}


def source(name: str) -> str:
    return build.source_of(name).read_text()


@contracts
def test_a_contract_calls_out_only_where_it_is_meant_to_and_knows_nothing_of_luck(name: str) -> None:
    assembly = set(compile_code(source(name), output_formats=["asm"])["asm"].split())
    assert assembly & OUTWARD == CALLS[name]
    assert not assembly & (FORTUNE | LATER)


@contracts
def test_what_is_called_is_fixed_at_the_founding_but_for_a_bountys_token(name: str) -> None:
    targets = set(re.findall(r"(?:extcall|staticcall) \w+\((\w+)\)", source(name)))
    fixed = set(re.findall(r"^([A-Z]+): immutable\(address\)", source(name), re.M))
    asked_while_founding = {"moot"} if name == "Assembly" else set()
    assert targets <= fixed | asked_while_founding | ({"token"} if name == "Purse" else set())


@contracts
def test_no_answer_of_another_contract_is_dropped(name: str) -> None:
    answering = set(re.findall(r"^    def (\w+)\(.*\) -> .*: \w+$", source(name), re.M)) | {"transfer", "transferFrom"}
    dropped = re.findall(r"^\s+extcall \w+\(\w+\)\.(\w+)\(", source(name), re.M)
    assert not answering & set(dropped)


@contracts
def test_everything_that_is_declared_is_used(name: str) -> None:
    text = source(name)
    code = re.sub(r'""".*?"""|#.*$', "", text, flags=re.S | re.M)
    constants = re.findall(r"^(\w+): (?:constant|immutable)\(", code, re.M)
    variables = re.findall(r"^(_\w+): ", code, re.M)
    internals = re.findall(r"@internal\n(?:@\w+\n)*def (\w+)", code)
    events = re.findall(r"^(?:event|struct|interface) (\w+)", code, re.M)
    asked = re.findall(r"^    def (\w+)\(", code, re.M)
    unused = [
        found
        for found in [*constants, *variables, *internals, *events, *asked]
        if len(re.findall(rf"(?<!\w){found}(?!\w)", code)) < 2
    ]
    assert not unused


def test_whoever_calls_a_foreign_token_has_the_one_lock_and_pays_what_is_written_off_already() -> None:
    found = re.findall(r"((?:@\w+\n)+)def (\w+)\([^@]*?:\n(.*?)(?=\n@|\n# ----|\Z)", source("Purse"), re.S)
    paying = {name: (head, body) for head, name, body in found if "extcall IERC20(token)" in body}
    assert paying.keys() == {"fund", "reclaim", "claim"}
    for name, (head, body) in paying.items():
        assert "@nonreentrant" in head, name
        _, after = body.split("extcall IERC20(token)")
        # what came in is counted when it is there; what goes out is the last thing that happens
        assert name == "fund" or "self._" not in after
