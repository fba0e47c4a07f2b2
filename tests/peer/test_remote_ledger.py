"""Peers that reach their ledger by JSON-RPC over HTTP, as on a consortium's own chain."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import rig

from folkmoot.ledger import jsonrpc
from folkmoot.ledger.replica import Replica
from folkmoot.round import members_of

NAMES = ["anna", "bert", "carl", "dora"]


class Node(BaseHTTPRequestHandler):
    """Answers as an Ethereum node does."""

    server: "Server"
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.out_of_order.is_set():
            self.send_error(503)
            return
        with self.server.turn:
            answer = jsonrpc.respond(self.server.replica, asked["method"], asked.get("params", ()))
        body = json.dumps({"jsonrpc": "2.0", "id": asked["id"], **answer}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    replica: Replica
    turn = threading.Lock()
    out_of_order = threading.Event()


@contextmanager
def node(ledger: Path) -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Node) as server:
        server.replica = Replica(ledger)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_a_moot_on_a_remote_chain_finishes_though_its_node_is_away_for_a_while(tmp_path: Path) -> None:
    source = rig.tiny_task(tmp_path / "task.py", rounds=2, start_members=4, train_seconds=30)
    with rig.moot(tmp_path / "moot", NAMES, start=False) as moot, node(moot.ledger_file) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        for home in moot.homes.values():
            home.write_config(msgspec.structs.replace(home.config, ledger=url))
        moot.start()
        task = moot.offer(source, rig.tiny_data(tmp_path, NAMES))
        server.out_of_order.set()
        moot.said("anna", "the chain cannot be reached")
        server.out_of_order.clear()
        model = moot.finish(task)
        assert {members_of(final.survivors) for final in moot.finals(task)} == {(0, 1, 2, 3)}
        moot.filled(task, "bert")
        assert moot.verify("bert").models == {task: model}
