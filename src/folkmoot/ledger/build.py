"""Makes ``Moot.json`` from ``Moot.vy``: ``python -m folkmoot.ledger.build``.

The artefact is kept in the package so that no one who uses Folkmoot needs a compiler; a test rebuilds and compares.
"""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["ARTEFACT", "SOURCE", "artefact"]

SOURCE = Path(__file__).with_name("Moot.vy")
ARTEFACT = SOURCE.with_suffix(".json")


def artefact() -> str:
    """The text of ``Moot.json``: ABI, bytecode, runtime size and compiler, from the source beside this file."""
    import vyper
    from vyper.compiler import compile_code

    made = compile_code(SOURCE.read_text(), output_formats=["abi", "bytecode", "bytecode_runtime"])
    runtime = len(bytes.fromhex(made["bytecode_runtime"][2:]))
    # one ABI entry a line keeps diffs readable
    entries = ",\n    ".join(json.dumps(entry, separators=(",", ":")) for entry in made["abi"])
    return (
        f'{{\n  "compiler": "vyper {vyper.__version__}",\n  "runtime_bytes": {runtime},\n'
        f'  "abi": [\n    {entries}\n  ],\n  "bytecode": "{made["bytecode"]}"\n}}\n'
    )


if __name__ == "__main__":
    ARTEFACT.write_text(artefact())
