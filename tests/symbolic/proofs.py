"""Halmos on specifications written in Vyper, as the contracts are: no Solidity compiler, and no forge, is needed.

Halmos asks ``forge`` to compile, and reads the artefacts that it leaves. Here they are there already, made by Vyper,
and what is called ``forge`` does nothing.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vyper.compiler import compile_code

from folkmoot.keccak import keccak
from folkmoot.ledger import build

VERSION = "0.3.3"
HERE = Path(__file__).parent
SECONDS = 1800
_FOUND = re.compile(r"\[(PASS|FAIL|TIMEOUT|ERROR)\]\S* (check_\w+)")


def halmos() -> Path:
    """The command, installed from PyPI into a cache of its own. Skips the test where it cannot be had."""
    cache = Path(os.environ.get("FOLKMOOT_TOOLS") or Path.home() / ".cache" / "folkmoot-tests")
    folder = cache / f"halmos-{VERSION}-py{sys.version_info.major}.{sys.version_info.minor}"
    command = folder / "bin" / "halmos"
    if not command.exists():
        venv.create(folder, with_pip=True, clear=True)
        install = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", f"halmos=={VERSION}"]
        done = subprocess.run(install, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"halmos cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    return command


class Project:
    """Contracts and one specification as halmos wants to find them; ``change`` edits the contracts' sources."""

    def __init__(self, folder: Path, spec: str, change: Callable[[str], str] = lambda source: source) -> None:
        self.folder = folder
        self.spec = spec
        slots: dict[str, int] = {}
        for name in ("Moot", "Assembly"):
            source = change(build.source_of(name).read_text())
            made = compile_code(source, output_formats=["abi", "bytecode", "bytecode_runtime", "layout"])
            for variable, found in made["layout"]["storage_layout"].items():
                slots[variable.removeprefix("_").upper()] = found["slot"]
            # what a deployment fixes stands behind the code
            fixed = sum(each["length"] for each in made["layout"].get("code_layout", {}).values())
            slots[f"{name.upper()}_BYTES"] = len(made["bytecode_runtime"]) // 2 - 1 + fixed
            self._write(name, made)
        source = (HERE / f"{spec}.vy").read_text()
        for name, slot in slots.items():
            source = re.sub(rf"(?<![\w.]){name}(?!\w)", str(slot), source)
        self._write(spec, compile_code(source, output_formats=["abi", "bytecode", "bytecode_runtime"]))
        forge = folder / "bin" / "forge"
        forge.parent.mkdir()
        forge.write_text("#!/bin/sh\nexit 0\n")
        forge.chmod(0o755)

    def _write(self, name: str, made: dict[str, Any]) -> None:
        functions = [entry for entry in made["abi"] if entry["type"] == "function"]
        signatures = [f"{e['name']}({','.join(map(_kind, e['inputs']))})" for e in functions]
        contract = {"nodeType": "ContractDefinition", "name": name, "contractKind": "contract", "nodes": [], "id": 1}
        code = {"linkReferences": {}, "sourceMap": ""}
        artefact = {
            "abi": made["abi"],
            "bytecode": code | {"object": made["bytecode"]},
            "deployedBytecode": code | {"object": made["bytecode_runtime"]},
            "methodIdentifiers": {signature: keccak(signature.encode())[:4].hex() for signature in signatures},
            "metadata": {"compiler": {"version": "0"}, "output": {"devdoc": {"methods": {}}}},
            "ast": {"absolutePath": f"{name}.vy", "nodeType": "SourceUnit", "nodes": [contract]},
            "id": 1,
        }
        path = self.folder / "out" / f"{name}.sol" / f"{name}.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(artefact))

    def run(self, check: str) -> str:
        """What halmos says of this check: ``PASS``, ``FAIL``, or why there is no answer."""
        command = [halmos(), "--root", self.folder, "--contract", self.spec, "--match-test", rf"^{check}\("]
        options = ["--storage-layout", "generic", "--loop", "300", "--early-exit", "--solver-timeout-assertion", "0"]
        environment = os.environ | {"PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"}
        done = subprocess.run(
            [*map(str, command), *options], env=environment, capture_output=True, text=True, timeout=SECONDS
        )
        found = dict((name, verdict) for verdict, name in _FOUND.findall(done.stdout))
        return found.get(check, done.stdout + done.stderr)


def _kind(item: dict[str, Any]) -> str:
    if not item["type"].startswith("tuple"):
        return str(item["type"])
    return f"({','.join(map(_kind, item['components']))}){item['type'].removeprefix('tuple')}"
