"""The compiled contracts in the package: they are what their sources make, they fit, they say what each call is for."""

from __future__ import annotations

import ast
import json
import re

import pytest

from folkmoot.ledger import build
from folkmoot.ledger.interface import Interface

SIZE_LIMIT = 24_576
"""EIP-170: the most bytes of code a contract may have."""
contracts = pytest.mark.parametrize("name", build.CONTRACTS)


def artefact(name: str) -> str:
    return (build.FOLDER / f"{name}.json").read_text()


@contracts
def test_the_artefact_is_what_the_source_makes(name):
    assert artefact(name) == build.artefact(name), "run python -m folkmoot.ledger.build"


@contracts
def test_the_contract_fits_the_size_limit_of_every_chain(name):
    assert json.loads(artefact(name))["runtime_bytes"] < SIZE_LIMIT
    assert len(Interface(name).creation) < 2 * SIZE_LIMIT


@contracts
def test_every_external_function_says_what_it_is_for_and_names_its_arguments(name):
    source = build.source_of(name).read_text()
    pattern = r'@(?:external|deploy)\n(?:@view\n|@nonreentrant\n)*def (\w+)\((.*?)\).*?:\n    """(.*?)"""'
    found = re.findall(pattern, source, re.S)
    getters = re.findall(r"^(\w+): public\(", source, re.M)
    entries = {e.get("name", "__init__"): e for e in json.loads(artefact(name))["abi"] if e["type"] != "event"}
    assert {function for function, *_ in found} == entries.keys() - set(getters)
    for function, arguments, text in found:
        assert "@notice" in text or function == "__init__", function
        for argument in re.findall(r"(\w+):", arguments):
            # a family of like arguments may be told of together
            assert f"@param {argument} " in text or "other arguments" in text, (function, argument)
        assert not entries[function].get("outputs") or "@return" in text, function


@contracts
def test_every_assertion_gives_a_reason_that_fits_a_line(name):
    source = build.source_of(name).read_text()
    # where another contract is asked, and answers that it did not, there is nothing to add
    asked = len(re.findall(r"^\s+assert extcall ", source, re.M))
    reasons = re.findall(r'^\s+(?:assert .*|\)), ("[^"]*"|reason)$', source, re.M)
    assert len(reasons) + asked == len(re.findall(r"^\s+assert ", source, re.M))
    assert all(reason == "reason" or 0 < len(ast.literal_eval(reason)) <= 40 for reason in reasons)
