"""Blobs on disk, named by their hash.

A ``Store`` takes bytes and gives them back under the BLAKE3 name of ``folkmoot.digest``. What is visible is
whole: a blob appears by one rename, and every read is checked against the name. Several processes of one
machine share a directory safely, ``kill -9`` at any instruction included.
"""

from folkmoot.store.blobs import Problem, Store
from folkmoot.store.lent import Lent
from folkmoot.store.manifest import Manifest
from folkmoot.store.partial import Partial

__all__ = ["Lent", "Manifest", "Partial", "Problem", "Store"]
