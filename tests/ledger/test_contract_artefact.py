"""The compiled contract in the package: it is what its source makes, it fits, it says what each call is for."""

from __future__ import annotations

import ast
import json
import re

from folkmoot.ledger import abi, build

SIZE_LIMIT = 24_576
"""EIP-170: the most bytes of code a contract may have."""


def test_the_artefact_is_what_the_source_makes():
    assert build.ARTEFACT.read_text() == build.artefact(), "run python -m folkmoot.ledger.build"


def test_the_contract_fits_the_size_limit_of_every_chain():
    assert json.loads(build.ARTEFACT.read_text())["runtime_bytes"] < SIZE_LIMIT
    assert len(abi.CREATION) < 2 * SIZE_LIMIT


def test_every_external_function_says_what_it_is_for_and_names_its_arguments():
    source = build.SOURCE.read_text()
    found = re.findall(r'@(?:external|deploy)\n(?:@view\n)?def (\w+)\((.*?)\).*?:\n    """(.*?)"""', source, re.S)
    entries = [entry for entry in json.loads(build.ARTEFACT.read_text())["abi"] if entry["type"] != "event"]
    assert len(found) == len(entries)
    for name, arguments, text in found:
        assert "@notice" in text, name
        for argument in re.findall(r"(\w+):", arguments):
            # a family of like arguments may be told of together
            assert f"@param {argument} " in text or "other arguments" in text, (name, argument)
        entry = next(e for e in entries if e.get("name", "__init__") == name)
        assert not entry.get("outputs") or "@return" in text, name


def test_every_assertion_gives_a_reason_that_fits_a_line():
    source = build.SOURCE.read_text()
    reasons = re.findall(r'^\s+(?:assert .*|\)), ("[^"]*"|reason)$', source, re.M)
    assert len(reasons) == len(re.findall(r"^\s+assert ", source, re.M))
    assert all(reason == "reason" or 0 < len(ast.literal_eval(reason)) <= 40 for reason in reasons)
