"""Makes the command start in half the time, by not importing what it never uses."""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

__all__ = ["spare_key_files"]

_NAME = "eth_keyfile"
_FUNCTIONS = ("create_keyfile_json", "decode_keyfile_json", "extract_key_from_keyfile", "load_keyfile")


def spare_key_files() -> None:
    """Put a stand-in where ``eth_account`` looks for ``eth_keyfile``; call it before ``eth_account`` is imported.

    The real one, for Ethereum's encrypted key files, computes pairings of a BLS curve as it is imported: half a
    second of CPU in every peer that starts, for nothing that Folkmoot uses. A call of one of its functions still
    finds it.
    """
    if _NAME in sys.modules or "eth_account" in sys.modules:
        return
    package, module = types.ModuleType(_NAME), types.ModuleType(f"{_NAME}.keyfile")
    package.__path__ = []
    for stand_in in (package, module):
        for function in _FUNCTIONS:
            setattr(stand_in, function, _forward(function))
    # Only annotations mention it.
    module.KDFType = str  # type: ignore[attr-defined]
    sys.modules |= {package.__name__: package, module.__name__: module}


def _forward(function: str) -> Any:
    def call(*arguments: Any, **named: Any) -> Any:
        for name in (_NAME, f"{_NAME}.keyfile"):
            if not hasattr(sys.modules.get(name), "__file__"):
                sys.modules.pop(name, None)
        return getattr(importlib.import_module(_NAME), function)(*arguments, **named)

    return call
