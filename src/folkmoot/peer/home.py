"""A peer's folder: all that a member keeps on one machine, and the one place that knows its file names.

``identity.json`` the seed (0600), ``config.json`` how to reach the moot, ``data.json`` where the member's datasets
lie (never told to anyone), ``blobs/`` the store, ``journal.sqlite`` what the daemon must not forget and
``journal.begun`` that there is to be one, ``overrides.json`` safeguards that commands did without before there was one,
``status.json`` and ``log.jsonl`` what it is doing, ``peer.lock`` held while it runs. On a hosted chain also
``ledger.sqlite`` the copy of it, ``hosting.sqlite`` who hosts it, ``outbox/`` what commands leave for the running
peer to bring there; where the moot has moved to that chain, in a folder ``chain-...``.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from folkmoot.errors import LocalError
from folkmoot.peer.durable import folder_at, refusals, replace

if TYPE_CHECKING:
    from folkmoot.ledger import Chain, Moot
    from folkmoot.ledger.hosted import HostedReplica
    from folkmoot.network import Listening
    from folkmoot.peer.identity import Identity
    from folkmoot.store import Store

__all__ = ["EVERYWHERE", "HERE", "PORT", "WORKER_MEMORY", "Config", "Home", "HomeTaken"]

PORT = 4100
"""The UDP port of a peer that was told no other; further peers of one machine take the next free ones."""
HERE = f"127.0.0.1:{PORT}+"
"""Where a peer listens whose moot is on this machine alone."""
EVERYWHERE = f"0.0.0.0:{PORT}+"
"""Where a peer listens whose moot is on several machines: on all its addresses."""

_VISIT_SECONDS = 60.0
"""For so long a peer that starts waits for a command of its home to be done with the host."""

WORKER_MEMORY = 16 << 30
"""Bytes of memory that the code of one task may take, unless ``config.json`` says otherwise."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How this peer reaches its moot; ``config.json``, made by ``new`` and ``join``, edited by hand at will."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    ledger: str
    """Absolute path of an embedded chain's file, the URLs of JSON-RPC endpoints with commas between them, or that of a
    hosted chain's first host."""
    contract: str
    """Address of the moot's contract, ``0x`` and 40 hex digits."""
    chain_folder: Annotated[str, msgspec.Meta(pattern=r"^[\w-]*$")] = ""
    """The folder in this home that has the copy of a hosted chain; the home itself unless the moot has moved there."""
    bind: str = HERE
    """Address and UDP port that the peer listens on, ``IP:PORT``. A ``+`` behind it lets the next free port do. Port 0
    lets the system choose another one at each start."""
    relays: tuple[str, ...] = ()
    """URLs of relays for peers behind firewalls; none by default."""
    blob_budget: Annotated[int, msgspec.Meta(ge=1 << 20)] = 10 << 30
    """Most bytes of blobs kept on disk."""
    sandbox: Literal["bubblewrap", "none"] = "bubblewrap"
    """What the code of a task runs in; ``none`` is the administrator's own risk, and is recorded."""
    worker_memory: Annotated[int, msgspec.Meta(ge=1 << 28)] = WORKER_MEMORY
    """Most bytes of memory that the code of one task may take."""
    chain_id: int | None = None
    """The id of the chain that the moot stands on; another one's answers are refused. Known from the founding or the
    day of joining on."""
    confirmations: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    """Blocks that must stand above what this peer believes; only for JSON-RPC endpoints."""
    fee_cap: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """The most that a unit of gas may cost, in gwei; above, transactions wait. Only for JSON-RPC endpoints."""


class HomeTaken(LocalError):
    """Another process has the folder."""


class Home:
    """One peer's folder. Opening reads nothing; each part is read when asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.identity_file = path / "identity.json"
        self.config_file = path / "config.json"
        self.data_file = path / "data.json"
        self.cards = path / "cards"
        self.blobs = path / "blobs"
        self.journal = path / "journal.sqlite"
        self.journal_mark = path / "journal.begun"
        self.early_overrides = path / "overrides.json"
        self.status_file = path / "status.json"
        self.log_file = path / "log.jsonl"
        self.lock_file = path / "peer.lock"
        self._caught_up = False
        """Whether the copy of a hosted chain was brought up to date since this home was opened."""

    @classmethod
    def create(cls, path: Path, config: Config, identity: Identity | None = None) -> Home:
        """Make the folder of a peer that has joined or founded a moot.

        The identity that is in the folder is kept, else ``identity``, else a new one is made. Raises
        ``LocalError`` when the folder belongs to another moot, or holds another identity than the one given.
        """
        home = cls(path)
        if home.config_file.exists() and home.config.contract != config.contract:
            raise LocalError(f"{path} belongs to another moot already; choose another folder with --home")
        home.ensure_identity(identity)
        home.write_config(config)
        return home

    @classmethod
    def open(cls, path: Path) -> Home:
        """The folder of a peer that belongs to a moot. Raises ``LocalError`` when it does not."""
        home = cls(path)
        if not home.config_file.exists():
            raise LocalError(
                f"{path} belongs to no moot yet: found one (folkmoot new), join one (folkmoot join TICKET), "
                "or name the right folder with --home"
            )
        _ = home.config
        return home

    def ensure_identity(self, identity: Identity | None = None) -> Identity:
        """The identity in this folder; if there is none, ``identity`` or a new one is saved there."""
        folder_at(self.path)
        from folkmoot.peer.identity import Identity

        if not self.identity_file.exists():
            (identity or Identity.create()).save(self.identity_file)
        elif identity is not None and identity != self.identity:
            raise LocalError(f"{self.path} holds another identity; choose another folder with --home")
        return self.identity

    @cached_property
    def identity(self) -> Identity:
        """The member's keys. Raises ``LocalError`` when they are missing or others can read them."""
        from folkmoot.peer.identity import Identity

        return Identity.load(self.identity_file)

    @cached_property
    def config(self) -> Config:
        """How to reach the moot. Raises ``LocalError`` naming the field that does not fit."""
        try:
            return msgspec.json.decode(self.config_file.read_bytes(), type=Config)
        except OSError as error:
            raise LocalError(f"cannot read {self.config_file}: {error.strerror}") from None
        except msgspec.DecodeError as error:
            raise LocalError(f"{self.config_file} is malformed: {error}") from None

    def write_config(self, config: Config) -> None:
        """Put ``config`` in place of the one on disk."""
        self._write(self.config_file, msgspec.json.format(msgspec.json.encode(config)))
        self.__dict__["config"] = config

    def listen(self, where: str) -> None:
        """Have the peer listen there from now on, ``IP:PORT``. Raises ``NetworkError`` for what is no address."""
        from folkmoot.network import Listening

        self.write_config(msgspec.structs.replace(self.config, bind=str(Listening.parse(where))))

    def settle(self, where: Listening, *, fixed: bool = False) -> None:
        """Remember the port that the peer got, so that it has the same one after a restart.

        Firewalls and tickets name the port of a peer that others reach from elsewhere, or that is to stay, ``fixed``:
        such a one moves no more. On loopback nobody minds.
        """
        stays = fixed or not where.is_local
        settled = str(where.settled if stays else where)
        if self.config.bind != settled and (fixed or not self.config.bind.endswith(":0")):
            self.write_config(msgspec.structs.replace(self.config, bind=settled))

    def data(self) -> dict[int, str]:
        """Path on this machine of each of the member's datasets, by its id on the ledger."""
        try:
            return msgspec.json.decode(self.data_file.read_bytes(), type=dict[int, str])
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise LocalError(f"cannot read {self.data_file}: {error.strerror}") from None
        except msgspec.DecodeError as error:
            raise LocalError(f"{self.data_file} is malformed: {error}") from None

    def add_data(self, dataset: int, path: Path) -> None:
        """Remember where a dataset lies."""
        known = self.data() | {dataset: str(path.absolute())}
        self._write(self.data_file, msgspec.json.format(msgspec.json.encode(known)))

    def forget_data(self, dataset: int) -> None:
        """Forget where a dataset lies."""
        known = self.data()
        known.pop(dataset, None)
        self._write(self.data_file, msgspec.json.format(msgspec.json.encode(known)))

    @contextmanager
    def lock(self, role: Literal["peer", "visit"] = "peer") -> Iterator[None]:
        """Hold the folder for one running peer, or for a command that visits the host of the chain in its stead. A peer
        waits until a command is done. Raises ``HomeTaken`` naming the process that has the folder.

        The lock goes with the process, however it ends: a file left behind by a kill locks nothing.
        """
        with refusals(self.lock_file):
            descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline, told = time.monotonic() + _VISIT_SECONDS, ""
            while not _locked(descriptor):
                holder = os.pread(descriptor, 40, 0).decode(errors="replace").strip() or "unknown"
                visits = holder.endswith("visit") or holder != told  # whoever has just taken it says so in a moment
                if role == "visit" or not visits or time.monotonic() > deadline:
                    raise HomeTaken(
                        f"a peer already runs from {self.path} (process {holder}); stop it first, or use another --home"
                    )
                told = holder
                time.sleep(0.05)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}{' visit' * (role == 'visit')}".encode(), 0)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def chain_lock(self) -> Iterator[None]:
        """Hold the folder of the chain's copy, where that is the home of a peer of its own: it hosted the chain that
        the moot has moved to by now. Raises ``HomeTaken`` while it runs."""
        if not self.config.chain_folder:
            yield
            return
        with Home(folder_at(self.chain_folder)).lock():
            yield

    def chain(self) -> Chain:
        """The chain that the moot stands on. Of a hosted one, the copy in this folder, which is brought up to date the
        first time if no peer runs here."""
        from folkmoot.ledger import Chain, open_chain

        if not self.hosted:
            config = self.config
            return open_chain(
                config.ledger,
                chain_id=config.chain_id,
                confirmations=config.confirmations,
                fee_cap=config.fee_cap,
            )
        from folkmoot.peer.outbox import Outbox, open_copy

        folder = self.chain_folder
        copy = open_copy(folder, self.config.ledger, self.identity.endpoint, self._bring)
        if not (self._caught_up or copy.hosting or Outbox(folder).peer_runs()):
            from folkmoot.peer.hostedcopy import catch_up

            self._caught_up = True
            catch_up(self, copy)
        return Chain(copy)

    def _bring(self, copy: HostedReplica, raw: bytes) -> bool:
        from folkmoot.peer.hostedcopy import bring

        return bring(self, copy, raw)

    @property
    def hosted(self) -> bool:
        """Whether the chain is a hosted one, of which this folder has a copy."""
        return self.config.ledger.startswith("host:")

    @property
    def chain_folder(self) -> Path:
        """Where the copy of a hosted chain lies, and what belongs to it."""
        return self.path / self.config.chain_folder

    def ledger(self) -> str:
        """Where the chain is for who only reads: the path of a file, or a node's URL."""
        replica = self.chain().replica if self.hosted else None
        return self.config.ledger if replica is None else str(replica.path)

    def url(self) -> str:
        """The ledger as newcomers reach it: a hosted chain by way of who hosts it now."""
        from folkmoot.ledger.hosted import HostedReplica
        from folkmoot.ledger.hosting import HostUrl

        chain = self.chain()
        if not isinstance(chain.replica, HostedReplica):
            return self.config.ledger
        host = chain.replica.book.host
        said = next((m.addresses for m in self.moot(chain).members() if m.endpoint == host), ())
        return str(HostUrl(host, said)) if said else self.config.ledger

    def moot(self, chain: Chain | None = None) -> Moot:
        """The moot's ledger, with transactions signed by this member."""
        from folkmoot.ledger import Moot

        return Moot(chain or self.chain(), self.config.contract, self.identity.account)

    def store(self) -> Store:
        """This peer's blobs."""
        from folkmoot.store import Store

        return Store(self.blobs, budget=self.config.blob_budget)

    def _write(self, path: Path, data: bytes) -> None:
        replace(path, data + b"\n", mode=0o600)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
