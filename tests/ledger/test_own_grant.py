"""A member's own grant counts once it is believed; its end counts at once."""

import pytest

from folkmoot.ledger import Chain, Moot
from folkmoot.ledger.interface import word

NONE, GIVEN, OTHER = (b"".join(map(word, words)) for words in ((0, 0, 0, 0), (7, 0, 0, 0), (7, 1_000_000, 0, 0)))


class Told(Chain):
    """A chain that believes one answer, and whose nodes' newest blocks have others."""

    def __init__(self, believed: bytes, *newest: bytes) -> None:
        self._believed, self._newest = believed, newest

    def call(self, to: str, data: bytes) -> bytes:
        return self._believed

    def newest_calls(self, to: str, data: bytes) -> list[bytes]:
        return list(self._newest)


@pytest.mark.parametrize(
    ("believed", "newest", "granted"),
    [
        (GIVEN, [], True),
        (GIVEN, [GIVEN, GIVEN], True),
        (NONE, [GIVEN], False),
        (GIVEN, [NONE], False),
        (GIVEN, [GIVEN, NONE], False),
        (GIVEN, [OTHER], False),
    ],
    ids=["embedded", "all say so", "not believed yet", "revoked since", "one node knows that", "given anew since"],
)
def test_an_own_grant_is_the_stricter_of_what_is_believed_and_what_is_newest(
    believed: bytes, newest: list[bytes], granted: bool
) -> None:
    moot = Moot(Told(believed, *newest), "0x" + "22" * 20)
    assert (moot.own_grant(1, 0) is not None) == granted
