"""A signed statement about files: in-toto's Statement (v1) in a DSSE envelope (v1.0.2), signed with Ed25519.

Both are read by the tools of others. They are small enough to be written here: the packages that sign models bring a
dozen others for certificates and transparency logs, none of which a moot has a use for, for its members' keys stand
on its ledger.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from folkmoot.errors import IntegrityError

__all__ = ["LIMIT", "PAYLOAD_TYPE", "Signature", "Statement", "open_envelope", "seal", "sha256", "statement"]

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
LIMIT = 1 << 26
"""Bytes of an envelope, at most."""


class Subject(msgspec.Struct, frozen=True):
    """One file that the statement is about."""

    name: str
    digest: dict[str, str]


class Statement(msgspec.Struct, frozen=True, rename={"type_": "_type"}):
    """What is said, of which files; ``predicate`` is read by whoever knows its type."""

    type_: str
    subject: tuple[Subject, ...]
    predicateType: str
    predicate: msgspec.Raw


class Signature(msgspec.Struct, frozen=True):
    """One signature: base64, and a hint at the key."""

    sig: str
    keyid: str = ""


class Envelope(msgspec.Struct, frozen=True):
    """DSSE's JSON."""

    payload: str
    payloadType: str
    signatures: tuple[Signature, ...]


def statement(files: Mapping[str, bytes], predicate_type: str, predicate: Any) -> bytes:
    """The statement, as JSON, that ``predicate`` holds of these files."""
    subjects = [{"name": name, "digest": {"sha256": sha256(content)}} for name, content in sorted(files.items())]
    told = {"_type": STATEMENT_TYPE, "subject": subjects, "predicateType": predicate_type, "predicate": predicate}
    return msgspec.json.encode(told, order="sorted")


def sha256(content: bytes) -> str:
    """As a statement names a file's content: hex."""
    return hashlib.sha256(content).hexdigest()


def seal(payload: bytes, secret: bytes) -> bytes:
    """The envelope, as one line of JSON, of a statement signed with an Ed25519 secret key (32 bytes)."""
    key = Ed25519PrivateKey.from_private_bytes(secret)
    signature = base64.b64encode(key.sign(_encoded(payload))).decode()
    keyid = key.public_key().public_bytes_raw().hex()
    envelope = Envelope(base64.b64encode(payload).decode(), PAYLOAD_TYPE, (Signature(signature, keyid),))
    return msgspec.json.encode(envelope) + b"\n"


def open_envelope(data: bytes) -> tuple[bytes, tuple[Signature, ...]]:
    """Payload and signatures of an envelope, not checked yet. Raises ``IntegrityError`` where it is none."""
    try:
        if len(data) > LIMIT:
            raise ValueError(f"it has {len(data)} bytes, more than {LIMIT}")
        envelope = msgspec.json.decode(data, type=Envelope)
        if envelope.payloadType != PAYLOAD_TYPE:
            raise ValueError(f"its payload is {envelope.payloadType[:60]!r}")
        return base64.b64decode(envelope.payload, validate=True), envelope.signatures
    except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
        raise IntegrityError(f"it is no signed statement: {error}") from None


def check_signature(payload: bytes, signatures: tuple[Signature, ...], public: bytes) -> None:
    """Raise ``IntegrityError`` unless one of the signatures on ``payload`` is by the key ``public`` (32 bytes)."""
    message = _encoded(payload)
    for signature in signatures:
        try:
            key = Ed25519PublicKey.from_public_bytes(public)
            key.verify(base64.b64decode(signature.sig, validate=True), message)
        except (InvalidSignature, ValueError, binascii.Error):
            continue
        return
    raise IntegrityError(f"it is not signed by the key {public.hex()[:12]} that it names")


def read_statement(payload: bytes, predicate_type: str) -> Statement:
    """The statement in a payload. Raises ``IntegrityError`` where it is none of this type."""
    try:
        told = msgspec.json.decode(payload, type=Statement)
        if (told.type_, told.predicateType) != (STATEMENT_TYPE, predicate_type):
            raise ValueError(f"it is a {told.predicateType[:80]!r}")
    except (ValueError, msgspec.MsgspecError) as error:
        raise IntegrityError(f"it is no statement of lineage: {error}") from None
    return told


def _encoded(payload: bytes) -> bytes:
    """What is signed: DSSE's pre-authentication encoding of type and payload."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
