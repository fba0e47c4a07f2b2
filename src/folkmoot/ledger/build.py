"""Makes ``Moot.json`` and its like from the Vyper sources: ``python -m folkmoot.ledger.build``.

The artefacts are kept in the package so that no one who uses Folkmoot needs a compiler; a test rebuilds and compares.
"""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["CONTRACTS", "FOLDER", "artefact", "source_of"]

FOLDER = Path(__file__).parent
CONTRACTS = ("Moot", "Assembly", "Purse", "Points")


def source_of(name: str) -> Path:
    """The source of a contract."""
    return FOLDER / f"{name}.vy"


def artefact(name: str) -> str:
    """The text of a contract's artefact: ABI, bytecode, runtime size and compiler, from the source beside this file."""
    import vyper
    from vyper.compiler import compile_code

    made = compile_code(source_of(name).read_text(), output_formats=["abi", "bytecode", "bytecode_runtime"])
    runtime = len(bytes.fromhex(made["bytecode_runtime"][2:]))
    # one ABI entry a line keeps diffs readable
    entries = ",\n    ".join(json.dumps(entry, separators=(",", ":")) for entry in made["abi"])
    return (
        f'{{\n  "compiler": "vyper {vyper.__version__}",\n  "runtime_bytes": {runtime},\n'
        f'  "abi": [\n    {entries}\n  ],\n  "bytecode": "{made["bytecode"]}"\n}}\n'
    )


if __name__ == "__main__":
    for contract in CONTRACTS:
        (FOLDER / f"{contract}.json").write_text(artefact(contract))
