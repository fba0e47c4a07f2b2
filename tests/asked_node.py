"""A node that answers JSON-RPC over HTTP from a ledger file, and lies about events where a test wants it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from folkmoot.ledger import jsonrpc
from folkmoot.ledger.replica import Replica

Lie = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


@dataclass
class AskedNode:
    """Its address, and what becomes of the events that it tells."""

    url: str = ""
    lie: Lie | None = None


@contextmanager
def asked(ledger: Path) -> Iterator[AskedNode]:
    """Such a node on the ledger file, on a port of its own."""
    replica, turn, node = Replica(ledger), threading.Lock(), AskedNode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with turn:
                answer = jsonrpc.respond(replica, question["method"], question.get("params", ()))
            if node.lie is not None and question["method"] == "eth_getLogs":
                answer["result"] = node.lie(answer["result"])
            body = json.dumps({"jsonrpc": "2.0", "id": question["id"], **answer}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        node.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield node
        finally:
            server.shutdown()
            thread.join()
            replica.close()
