"""JSON-RPC over HTTP: one question, one answer, within a time and a size, whatever the other side does.

The standard library's client, and not one that is made for more: its timeouts count from one byte to the next, so
that a node which sends one byte a second holds a thread for ever. Here every read is given what is left of the whole.
"""

from __future__ import annotations

import base64
import http.client
import io
import itertools
import socket
import threading
import time
import urllib.request
from collections.abc import Sequence
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from folkmoot.errors import ChainError
from folkmoot.ledger.answers import AskFailed

__all__ = ["ANSWER_BYTES", "Endpoint"]

ANSWER_BYTES = 32 << 20
"""Most that one answer may have: many times the events of 10,000 blocks."""
_PORTS = {"http": 80, "https": 443}
_COUNT = itertools.count(1)


class Endpoint:
    """One URL. May be asked from several threads; each keeps a connection of its own open.

    Name and password in the URL are sent along (RFC 7617), ``http_proxy``, ``https_proxy`` and ``no_proxy`` of the
    environment heeded. Redirections are not followed. Raises ``ChainError`` when the URL is malformed.
    """

    def __init__(self, url: str) -> None:
        try:
            split = urlsplit(url)
            port = split.port
        except ValueError as error:
            raise ChainError(f"{url!r} is no URL: {error}") from None
        if split.scheme not in _PORTS or not split.hostname:
            raise ChainError(f"{url!r} is no URL of a node; write http://HOST:PORT or https://HOST")
        host = f"[{split.hostname}]" if ":" in split.hostname else split.hostname
        self.name = f"{split.scheme}://{host}" + ("" if port is None else f":{port}")
        """Scheme, host and port: what may be shown, for keys stand in paths and passwords before hosts."""
        self._target = (split.path or "/") + (f"?{split.query}" if split.query else "")
        self._headers = {"Content-Type": "application/json", "User-Agent": "folkmoot", **_login(split)}
        self._host, self._port, self._secure = split.hostname, port or _PORTS[split.scheme], split.scheme == "https"
        self._proxy = _proxy(split.scheme, split.hostname)
        if self._proxy is not None and not self._secure:
            self._target = f"http://{host}:{self._port}{self._target}"
            self._headers |= _login(self._proxy, "Proxy-Authorization")
        self._own = threading.local()

    def __call__(self, method: str, parameters: Sequence[Any], seconds: float) -> dict[str, Any]:
        """The response to one request, with ``result`` or ``error``. Raises ``AskFailed`` after ``seconds``."""
        number = next(_COUNT)
        asked = msgspec.json.encode({"jsonrpc": "2.0", "id": number, "method": method, "params": list(parameters)})
        try:
            response = msgspec.json.decode(self._post(asked, time.monotonic() + seconds))
        except (msgspec.DecodeError, RecursionError):
            raise AskFailed(f"answers {method} with something that is not JSON") from None
        if not isinstance(response, dict) or not ("result" in response or response.get("error")):
            raise AskFailed(f"answers {method} with something that is not JSON-RPC")
        if response.get("id") != number and not response.get("error"):  # a request that was not understood has no id
            raise AskFailed(f"answers {method} with the answer to another question")
        return response

    def _post(self, body: bytes, deadline: float) -> bytes:
        """What came back. A connection that was closed while it lay idle is made once anew."""
        try:
            connection: _Connection | None = getattr(self._own, "connection", None)
            if connection is not None:
                try:
                    return self._exchange(connection, body, deadline)
                except (ConnectionError, http.client.BadStatusLine, http.client.NotConnected):
                    connection.close()
            self._own.connection = connection = self._connect(deadline)
            return self._exchange(connection, body, deadline)
        except AskFailed:
            self._drop()
            raise
        except TimeoutError:
            self._drop()
            raise AskFailed("does not answer in time") from None
        except Exception as error:  # whatever a hostile server makes of the protocol
            self._drop()
            raise AskFailed(f"cannot be reached: {error or type(error).__name__}") from None

    def _connect(self, deadline: float) -> _Connection:
        host, port = self._host, self._port
        if self._proxy is not None:
            host, port = self._proxy.hostname or "", self._proxy.port or 80
        made = (_SecureConnection if self._secure else _Connection)(host, port, timeout=_left(deadline))
        if self._proxy is not None and self._secure:
            made.set_tunnel(self._host, self._port, _login(self._proxy, "Proxy-Authorization"))
        made.deadline = deadline
        made.connect()
        return made

    def _exchange(self, connection: _Connection, body: bytes, deadline: float) -> bytes:
        connection.deadline, connection.timeout = deadline, _left(deadline)
        if connection.sock is not None:
            connection.sock.settimeout(connection.timeout)
        connection.request("POST", self._target, body, self._headers)
        response = connection.getresponse()
        if response.status != 200:
            raise AskFailed(f"answers HTTP {response.status}")
        found = bytearray()
        while more := response.read1(1 << 16):
            found += more
            if len(found) > ANSWER_BYTES:
                raise AskFailed(f"answers with more than {ANSWER_BYTES >> 20} MiB")
        response.close()  # the response, so that the connection is free for the next
        return bytes(found)

    def _drop(self) -> None:
        connection = self._own.__dict__.pop("connection", None)
        if connection is not None:
            connection.close()


class _Connection(http.client.HTTPConnection):
    deadline = 0.0

    def getresponse(self) -> http.client.HTTPResponse:
        """As ever, but nothing is read after the deadline."""
        sock = self.sock
        self.sock = _Timed(sock, self.deadline)
        try:
            return super().getresponse()
        finally:
            if self.sock is not None:  # it is None when the server wants to close
                self.sock = sock


class _SecureConnection(http.client.HTTPSConnection, _Connection):
    pass


class _Timed:
    """A socket, for a response to read from: each of its reads has what is left until the deadline."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, mode: str) -> io.BufferedReader:
        """What ``http.client`` reads a response from."""
        return io.BufferedReader(_TimedReads(self._sock, self._deadline))

    def close(self) -> None:
        """Close the socket, once the response is read."""
        self._sock.close()


class _TimedReads(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left(self._deadline))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _login(split: SplitResult, header: str = "Authorization") -> dict[str, str]:
    if split.username is None:
        return {}
    words = f"{unquote(split.username)}:{unquote(split.password or '')}"
    return {header: "Basic " + base64.b64encode(words.encode()).decode()}


def _proxy(scheme: str, host: str) -> SplitResult | None:
    found = None if urllib.request.proxy_bypass(host) else urllib.request.getproxies().get(scheme)
    return None if not found else urlsplit(found if "://" in found else f"http://{found}")
