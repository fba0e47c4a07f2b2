"""What goes over HTTP to a node, and what never does."""

from __future__ import annotations

import logging

import faulty_rpc
import pytest
from anvil import Anvil
from real_chain import Two, urls

from folkmoot.errors import ChainError
from folkmoot.ledger import open_chain


def test_urls_that_are_none_are_named() -> None:
    for url, said in {
        "http://": "'http://' is no URL of a node",
        "http://a,ftp://b": "'ftp://b' is no URL of a node",
        "http://a:port": "is no URL: Port",
        "https://a,": "'' is no URL of a node",
        "http://a, http://a": "there twice",
    }.items():
        with pytest.raises(ChainError, match=said):
            open_chain(url)


def test_passwords_and_keys_in_urls_are_sent_to_the_node_and_shown_to_nobody(two: Two) -> None:
    one, _ = two
    host = one.url.removeprefix("http://")
    chain = open_chain(f"http://anna:s%20cret@{host}/v3/key?also=secret")
    chain.head()
    assert one.headers[-1]["Authorization"] == "Basic YW5uYTpzIGNyZXQ="
    one.close()
    with pytest.raises(ChainError) as caught:
        chain.head()
    assert host in str(caught.value)
    for secret in ("cret", "key", "also"):
        assert secret not in str(caught.value)


def test_two_nodes_behind_one_host_are_told_apart(two: Two) -> None:
    one, _ = two
    one.fault = faulty_rpc.status(500)
    with pytest.raises(ChainError, match=rf"{one.url} \(number 1\) .*{one.url} \(number 2\)"):
        open_chain(f"{one.url}/a, {one.url}/b").head()


def test_the_proxy_of_the_environment_is_used(two: Two, monkeypatch: pytest.MonkeyPatch, node: Anvil) -> None:
    one, _ = two
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", one.url)
    assert open_chain("http://node.invalid:8545").head() == node.head()
    assert one.headers[-1]["Host"] == "node.invalid:8545"


def test_a_connection_that_the_node_closed_meanwhile_is_made_anew(two: Two) -> None:
    one, _ = two
    chain = open_chain(one.url)
    chain.head()
    one.close()
    one.open()
    chain.head()
    assert not chain.nodes.away


def test_logging_reaches_who_listens_to_folkmoot(two: Two, caplog: pytest.LogCaptureFixture) -> None:
    one, _ = two
    one.fault = faulty_rpc.status(500)
    open_chain(urls(two)).head()
    assert any(r.name.startswith("folkmoot.") and r.levelno == logging.WARNING for r in caplog.records)
