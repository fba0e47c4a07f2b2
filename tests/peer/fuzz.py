"""Random messages that fit their schema, from a seed: what a member can send that only a handler can refuse."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
from msgspec import inspect


class Fuzz:
    """A source of random values of given types. ``bias`` are numbers that it likes, such as a task that there is."""

    def __init__(self, seed: int, bias: tuple[int, ...]) -> None:
        self._random = Random(seed)
        self._bias = bias

    def message(self, kinds: tuple[type, ...]) -> Any:
        kind = self._random.choice(kinds)
        return msgspec.convert(self._value(inspect.type_info(kind)), kind, from_attributes=False)

    def body(self) -> bytes:
        return self._random.randbytes(self._random.choice((0, 0, 1, 32, 65, 1000, 70_000)))

    def _value(self, info: inspect.Type) -> Any:
        random = self._random
        match info:
            case inspect.StructType():
                made = {f.encode_name: self._value(f.type) for f in info.fields if f.required or random.random() < 0.7}
                return made | ({} if info.tag is None else {info.tag_field: info.tag})
            case inspect.IntType():
                low = info.ge if info.ge is not None else 0
                high = info.le if info.le is not None else 1 << 40
                high = info.lt - 1 if info.lt is not None else high
                liked = [number for number in (*self._bias, low, high) if low <= number <= high]
                return random.choice(liked) if random.random() < 0.8 else random.randint(low, high)
            case inspect.BytesType():
                return random.randbytes(self._length(info, 64))
            case inspect.StrType():
                return "".join(random.choices("a\0é\n☃", k=self._length(info, 20)))
            case inspect.BoolType():
                return random.random() < 0.5
            case inspect.FloatType():
                return random.choice((0.0, -1.0, 1e308, float("nan"), float("inf")))
            case inspect.VarTupleType() | inspect.ListType():
                return [self._value(info.item_type) for _ in range(self._length(info, 4))]
            case inspect.TupleType():
                return [self._value(item) for item in info.item_types]
            case inspect.DictType():
                return {self._value(info.key_type): self._value(info.value_type) for _ in range(self._length(info, 4))}
            case inspect.UnionType():
                return self._value(random.choice(info.types))
            case inspect.NoneType():
                return None
            case inspect.LiteralType():
                return random.choice(info.values)
        raise NotImplementedError(f"{info}: say here what it looks like")

    def _length(self, info: Any, most: int) -> int:
        low = info.min_length or 0
        high = min(info.max_length if info.max_length is not None else most, max(most, low))
        return self._random.choice((low, self._random.randint(low, high)))
