"""A task that continues another one from one of its models, without some of its members.

Its bundle is that task's, with one file more: ``lineage.json``, a ``Pin``. The code is the same to the byte; only how
many rounds there are, and how many grants it starts with, come from the pin, and the first state is no longer what
``init`` makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from folkmoot.digest import blob_hash
from folkmoot.errors import TaskError
from folkmoot.task.bundle import pack_bundle

__all__ = ["PIN_FILE", "Pin", "continued_bundle", "pin_of", "pinned_bundle", "read_pin"]

PIN_FILE = "lineage.json"
_FORMAT = "folkmoot-lineage-1"

_Number = Annotated[int, msgspec.Meta(ge=0)]


class Pin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a task starts, and whom it does without."""

    format: str = _FORMAT
    chain_id: _Number
    contract: str
    """The moot's contract, ``0x`` and 40 hex digits."""
    task: _Number
    """The task that it continues."""
    round: _Number
    """The final round whose model it starts from; 0: the state that the task itself started from."""
    model: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    """Hash of that state."""
    without: Annotated[tuple[int, ...], msgspec.Meta(min_length=1, max_length=256)]
    """The members whose contributions count in none of its rounds, ascending."""
    rounds: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    """How many rounds it has."""
    start_members: Annotated[int, msgspec.Meta(ge=1, le=256)]
    """Grants needed before the first of them opens."""
    before: str = ""
    """The ``lineage.json`` of the task that it continues, where that continues another one itself."""

    @property
    def state(self) -> bytes:
        """32 bytes: the hash of the state that it starts from."""
        return bytes.fromhex(self.model)

    @property
    def begun(self) -> int:
        """How many rounds made that state: the round that the state counts itself."""
        before = read_pin(self.before.encode()) if self.before else None
        return self.round + (0 if before is None else before.begun)

    @property
    def excluded(self) -> int:
        """Bitmap of the members that it does without."""
        return sum(1 << member for member in self.without)


def pin_of(files: Mapping[str, bytes]) -> Pin | None:
    """What the files of a bundle say of its start; ``None`` for a task that begins by itself.

    Raises ``TaskError`` where it is meant as a pin and is none.
    """
    text = files.get(PIN_FILE)
    return None if text is None else read_pin(text)


def read_pin(text: bytes) -> Pin | None:
    """The pin in a ``lineage.json``; ``None`` where the file is about something else."""
    try:
        told: Any = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
    if not isinstance(told, dict) or told.get("format") != _FORMAT:
        return None
    try:
        pin = msgspec.json.decode(text, type=Pin)
    except msgspec.MsgspecError as error:
        raise TaskError(f"The task's {PIN_FILE} is malformed: {error}.") from None
    if list(pin.without) != sorted(set(pin.without)) or not all(0 <= member < 256 for member in pin.without):
        raise TaskError(f"The task's {PIN_FILE} is malformed: `without` lists member indices, ascending.")
    return pin


def pinned_bundle(files: Mapping[str, bytes], pin: Pin) -> bytes:
    """The bundle of a task that continues the one with these files."""
    return pack_bundle({**files, PIN_FILE: msgspec.json.format(msgspec.json.encode(pin), indent=2) + b"\n"})


def continued_bundle(files: Mapping[str, bytes], pin: Pin) -> bytes:
    """32 bytes: the hash that the bundle of the continued task has, if these files are its own and the pin."""
    rest = {name: content for name, content in files.items() if name != PIN_FILE}
    if pin.before:
        rest[PIN_FILE] = pin.before.encode()
    return blob_hash(pack_bundle(rest))
