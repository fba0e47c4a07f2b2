"""An HTTP front before a node that fails, delays and lies as a test tells it to."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

Lie = Callable[[Any, Callable[[], Any]], Any]
"""What is told, given the parameters and a way to the true result."""


class Refusal(Exception):
    """Raised by a lie: the error answer that is told."""


class Front:
    """Answers for the node at ``upstream``, truthfully until told otherwise."""

    def __init__(self, upstream: str) -> None:
        self.lies: dict[str, Lie] = {}
        """By method."""
        self.fault: Callable[[Handler], None] | None = None
        """What happens instead of an answer."""
        self.asked: Counter[str] = Counter()
        """How often each method was asked for."""
        self.headers: list[dict[str, str]] = []
        """Of each request."""
        self._upstream = urlsplit(upstream).netloc
        self._server: _Server | None = None
        self._port = 0
        self.open()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def open(self) -> None:
        """Accept connections."""
        self._server = _Server(("127.0.0.1", self._port), Handler, self)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.005,), daemon=True).start()

    def close(self) -> None:
        """Refuse connections, and cut those there are."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.cut()
            self._server = None

    def says(self, method: str, result: Any) -> None:
        """Answer ``method`` with this."""
        self.lies[method] = lambda parameters, truth: result

    def refuses(self, method: str, message: str) -> None:
        """Answer ``method`` with this error."""

        def refuse(parameters: Any, truth: Any) -> Any:
            raise Refusal(message)

        self.lies[method] = refuse

    def honest(self) -> None:
        """Answer truthfully again."""
        self.lies.clear()
        self.fault = None

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What is told."""
        method, parameters = asked["method"], asked.get("params", [])
        self.asked[method] += 1
        lie = self.lies.get(method)
        if lie is not None:
            try:
                result = lie(parameters, lambda: self._truth(asked))
                return {"jsonrpc": "2.0", "id": asked["id"], "result": result}
            except Refusal as refusal:
                return {"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -32000, "message": str(refusal)}}
        return self.forward(asked)

    def _truth(self, asked: dict[str, Any]) -> Any:
        told = self.forward(asked)
        if "error" in told:
            raise Refusal(told["error"]["message"])
        return told["result"]

    def forward(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What the node says."""
        connection = http.client.HTTPConnection(self._upstream, timeout=30)
        try:
            connection.request("POST", "/", json.dumps(asked), {"Content-Type": "application/json"})
            told: dict[str, Any] = json.loads(connection.getresponse().read())
            return told
        finally:
            connection.close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    # one packet an answer: two would wait for each other (Nagle and delayed acknowledgements)
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        front = self.server.front
        body = self.rfile.read(int(self.headers["Content-Length"]))
        front.headers.append(dict(self.headers.items()))
        if front.fault is not None:
            front.fault(self)
            return
        self.reply(json.dumps(front.answer(json.loads(body))).encode())

    def reply(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], handler: type[Handler], front: Front) -> None:
        self.front = front
        self.connections: set[socket.socket] = set()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def cut(self) -> None:
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


# ---- faults: what happens instead of an answer --------------------------------------------------------------------


def status(code: int) -> Callable[[Handler], None]:
    """An HTTP status, as of a server that is out of order or out of patience."""
    return lambda handler: handler.reply(b"out of order", code)


def body(content: bytes) -> Callable[[Handler], None]:
    """Something that is no answer."""
    return lambda handler: handler.reply(content)


def hang_up(handler: Handler) -> None:
    """Nothing, and the end of the connection."""
    handler.close_connection = True


def drip(until: threading.Event) -> Callable[[Handler], None]:
    """A byte every now and then, and never the last one."""

    def go_on(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        handler.close_connection = True
        with contextlib.suppress(OSError):
            while not until.wait(0.02):
                handler.wfile.write(b" ")
                handler.wfile.flush()

    return go_on


def pour(handler: Handler) -> None:
    """Bytes without end."""
    handler.send_response(200)
    handler.end_headers()
    handler.close_connection = True
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(b" " * 65_536)


@contextlib.contextmanager
def front(upstream: str) -> Iterator[Front]:
    """A front before the node at ``upstream``."""
    made = Front(upstream)
    try:
        yield made
    finally:
        made.close()


def renumber(front: Front, by: int) -> None:
    """Number the node's blocks otherwise than its contracts see them: ``by`` higher, as on a chain whose contracts see
    the blocks of another."""

    def told(value: Any) -> Any:
        if isinstance(value, list):
            return [told(each) for each in value]
        if isinstance(value, dict):
            moved = {name: hex(int(value[name], 16) + by) for name in ("number", "blockNumber") if value.get(name)}
            return value | {name: told(each) for name, each in value.items() if isinstance(each, list)} | moved
        return value

    def place(value: Any) -> int | None:
        return int(value, 16) - by if isinstance(value, str) and value.startswith("0x") else None

    def passed_on(method: str, parameters: list[Any]) -> Any:
        answer = front.forward({"jsonrpc": "2.0", "id": 0, "method": method, "params": parameters})
        if "error" in answer:
            raise Refusal(answer["error"]["message"])
        return told(answer["result"])

    def block(parameters: Any, truth: Any) -> Any:
        number = place(parameters[0])
        if number is not None and number < 0:
            # of the blocks that there are besides nothing is asked but whether they are there
            return passed_on("eth_getBlockByNumber", ["0x0", *parameters[1:]]) | {"number": parameters[0]}
        return passed_on("eth_getBlockByNumber", [parameters[0] if number is None else hex(number), *parameters[1:]])

    def code(parameters: Any, truth: Any) -> Any:
        number = place(parameters[1])
        if number is not None and number < 0:
            return "0x"
        return passed_on("eth_getCode", [parameters[0], parameters[1] if number is None else hex(number)])

    def logs(parameters: Any, truth: Any) -> Any:
        scope = parameters[0]
        first, last = (int(scope[end], 16) - by for end in ("fromBlock", "toBlock"))
        if last < 0:
            return []
        return passed_on("eth_getLogs", [scope | {"fromBlock": hex(max(first, 0)), "toBlock": hex(last)}])

    front.lies |= {"eth_getBlockByNumber": block, "eth_getCode": code, "eth_getLogs": logs}
    for method in ("eth_getTransactionReceipt", "eth_getTransactionByHash"):
        front.lies[method] = lambda parameters, truth: told(truth())
