"""What Flower's SecAgg+ functions take for the same round; for ``benchmarks.secagg``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["Cost", "flower_cost"]


@dataclass(frozen=True)
class Cost:
    """CPU seconds of a client and of the server, and the bytes that a client uploads."""

    client: float
    server: float
    bytes: int


def flower_cost(n: int, k: int, words: int, threshold: int, modulus: int, dead: int) -> Cost:
    """The work of ``flwr.client.mod.secaggplus_mod`` and of the server's workflow, without training and messages.

    A client does all that it would but quantise; the server one step of each kind, which is multiplied by how many it
    takes with ``dead`` of the ``n`` clients missing. Raises ``ImportError`` where Flower is not installed.
    """
    client, upload = _client(k, words, threshold, modulus)
    return Cost(client, _server(n, k, words, threshold, modulus, dead), upload)


def _client(k: int, words: int, threshold: int, modulus: int) -> tuple[float, int]:
    from flwr.common import ndarray_to_bytes
    from flwr.common.secure_aggregation.crypto.shamir import create_shares
    from flwr.common.secure_aggregation.crypto.symmetric_encryption import decrypt, encrypt, generate_shared_key
    from flwr.common.secure_aggregation.ndarrays_arithmetic import (
        parameters_addition,
        parameters_mod,
        parameters_subtraction,
    )
    from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen, share_keys_plaintext_concat
    from flwr.supercore.primitives.asymmetric import generate_key_pairs, private_key_to_bytes

    others = [generate_key_pairs()[1] for _ in range(k)]
    vector = [np.array([1]), np.zeros(words, dtype=np.int64)]
    shapes = [array.shape for array in vector]
    began = time.process_time()
    (secret1, _), (secret2, _) = generate_key_pairs(), generate_key_pairs()
    seed = os.urandom(32)
    shares = [create_shares(each, threshold, k + 1) for each in (seed, private_key_to_bytes(secret1))]
    keys = [generate_shared_key(secret2, public) for public in others]
    sealed = [
        encrypt(key, share_keys_plaintext_concat(0, place, shares[0][place], shares[1][place]))
        for place, key in enumerate(keys)
    ]
    # as many come in from the neighbours as go out to them, of the same size
    for key, text in zip(keys, sealed, strict=True):
        decrypt(key, text)
    vector = parameters_addition(vector, pseudo_rand_gen(seed, modulus, shapes))
    for place, public in enumerate(others):
        mask = pseudo_rand_gen(generate_shared_key(secret1, public), modulus, shapes)
        vector = (parameters_addition if place % 2 else parameters_subtraction)(vector, mask)
    sent = [ndarray_to_bytes(array) for array in parameters_mod(vector, modulus)]
    return time.process_time() - began, sum(map(len, sent)) + sum(map(len, sealed))


def _server(n: int, k: int, words: int, threshold: int, modulus: int, dead: int) -> float:
    from flwr.common import bytes_to_ndarray, ndarray_to_bytes
    from flwr.common.secure_aggregation.crypto.shamir import combine_shares, create_shares
    from flwr.common.secure_aggregation.crypto.symmetric_encryption import generate_shared_key
    from flwr.common.secure_aggregation.ndarrays_arithmetic import parameters_addition, parameters_subtraction
    from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
    from flwr.supercore.primitives.asymmetric import generate_key_pairs, private_key_to_bytes

    secret, public = generate_key_pairs()
    vector = [np.array([1]), np.zeros(words, dtype=np.int64)]
    shapes = [array.shape for array in vector]
    raw = [ndarray_to_bytes(array) for array in vector]
    seed = os.urandom(32)
    # it rebuilds each secret from all the shares that came
    came = max(threshold, round((k + 1) * (n - dead) / n))
    seed_shares, key_shares = (
        create_shares(each, threshold, k + 1)[:came] for each in (seed, private_key_to_bytes(secret))
    )
    receive = _timed(lambda: parameters_addition(vector, [bytes_to_ndarray(each) for each in raw]))
    own_mask = _timed(lambda: parameters_subtraction(vector, pseudo_rand_gen(seed, modulus, shapes)))
    pair_mask = _timed(
        lambda: parameters_subtraction(vector, pseudo_rand_gen(generate_shared_key(secret, public), modulus, shapes))
    )
    of_active = receive + own_mask + _timed(lambda: combine_shares(seed_shares))
    of_dead = k * pair_mask + (_timed(lambda: combine_shares(key_shares)) if dead else 0.0)
    return (n - dead) * of_active + dead * of_dead


def _timed(step: Callable[[], object]) -> float:
    began = time.process_time()
    step()
    return time.process_time() - began
