"""Authenticated streams between peers by public key, and blobs over them.

A ``Node`` is one iroh endpoint (QUIC, so both ends prove their Ed25519 keys) that speaks only with the peers it
was told to allow. One exchange is one stream: a schema-checked message with a body there, another back. ``fetch``
takes a blob from several holders at once, verified as it streams.
"""

from folkmoot.network.blobs import fetch, serve_blobs
from folkmoot.network.exchange import Handler
from folkmoot.network.limits import Limits
from folkmoot.network.listening import Listening, PortTaken
from folkmoot.network.messages import BlobMessage, Message, Refused
from folkmoot.network.node import Node
from folkmoot.network.peers import PeerCounters
from folkmoot.network.streams import BodyReader, PeerRefused, Reply

__all__ = [
    "BlobMessage",
    "BodyReader",
    "Handler",
    "Limits",
    "Listening",
    "Message",
    "Node",
    "PeerCounters",
    "PeerRefused",
    "PortTaken",
    "Refused",
    "Reply",
    "fetch",
    "serve_blobs",
]
