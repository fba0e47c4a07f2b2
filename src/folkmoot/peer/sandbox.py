"""What the code of a task runs in: bubblewrap's namespaces, in which there is next to nothing to find or to harm.

No network, no other process, a system that can be read and not written, no home directory; of the store the blobs
that a question is about, and of the member's data the one dataset that is granted. What is left to fear is in
``docs/threat-model.md``.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import site
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from folkmoot.errors import DataError, LocalError
from folkmoot.peer.home import Config
from folkmoot.peer.seccomp import filter_program

if TYPE_CHECKING:
    from folkmoot.peer.context import PeerContext

__all__ = ["VARIABLE", "Choice", "Sandbox", "Sight", "choose", "environment", "put_on_record", "refusal", "trouble"]

VARIABLE = "FOLKMOOT_SANDBOX"
"""Environment variable that is believed before ``config.json``."""
_MISSING = "bubblewrap (bwrap) is not installed here"
BLOBS = "/run/folkmoot/blobs"
"""Where the worker finds, inside, the blobs that it is lent."""
_SECONDS = 20.0
_SHARED_MEMORY = 64 << 20
_SAID = 300
"""Characters of what bubblewrap says that are passed on."""
_NAMESPACES = ("--unshare-all", "--unshare-user", "--die-with-parent", "--cap-drop", "ALL", "--hostname", "folkmoot")
_TOP = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_SYSTEM = (
    "/usr",
    "/nix/store",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
)
"""Programs and libraries, and what numerical ones ask about the processor."""
_PREFIX_PARTS = ("lib", "lib64", "include", "share", "pyvenv.cfg")
"""What a Python installation is made of; not all of its folder, which may be somebody's home."""
_OWN = ("identity.json", "config.json", "data.json", "journal.sqlite", "blobs", "cards", "status.json")
_OWN_TOO = ("log.jsonl", "peer.lock", "worker.log", "output.txt")
"""How the names in a peer's folder begin that are its own: no dataset is one of them."""
_PASSED = ("LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", "PYTHONHASHSEED", "PYTHONDONTWRITEBYTECODE")
_PASSED_TOO = ("LC_", "OMP_", "OPENBLAS_", "MKL_", "KMP_", "NUMEXPR_", "BLIS_", "GOTO_")
"""The variables that reach the code of a task, by name and by how their name begins."""

Kind = Literal["bubblewrap", "none"]


class Choice(NamedTuple):
    """What the administrator chose, and where."""

    kind: Kind
    by: str


class Sight(NamedTuple):
    """A dataset as the worker sees it."""

    path: str
    """The one that the task is told."""
    source: str
    """The same without symbolic links."""
    file: tuple[int, int]
    """Device and inode: who puts another file in its place has to be noticed."""


def choose(config: Config | None) -> Choice:
    """What tasks are to run in: what the environment says, else ``config``, else bubblewrap.

    Raises ``LocalError`` when the environment says something else than it may.
    """
    said = os.environ.get(VARIABLE)
    if said is None:
        return Choice("bubblewrap", "default") if config is None else Choice(config.sandbox, "config.json")
    known: Mapping[str, Kind] = {"bubblewrap": "bubblewrap", "none": "none"}
    if said in known:
        return Choice(known[said], f"--no-sandbox or {VARIABLE}")
    raise LocalError(f"{VARIABLE} is {said[:40]!r}; it may be bubblewrap or none")


def put_on_record(peer: PeerContext) -> None:
    """Where the administrator does without a sandbox, have journal and log say so; see ``journal.overrides``."""
    chosen = choose(peer.home.config)
    if chosen.kind == "none":
        peer.journal.override("sandbox", chosen.by)
        peer.log("override", what="sandbox", how=chosen.by)


def refusal(why: str) -> str:
    """What a person is told whose machine has no sandbox."""
    return (
        f"the code of tasks does not run without a sandbox, and {why}. Install bubblewrap (apt install bubblewrap,"
        " dnf install bubblewrap), or at your own risk do without: the option --no-sandbox,"
        f' "sandbox": "none" in config.json, or {VARIABLE}=none; it is put on record'
    )


def trouble() -> str | None:
    """Why no sandbox can be made on this machine; ``None`` if one can. Makes one, and starts Python in it."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return _MISSING
    with _filter() as (options, descriptors):
        program = (*Sandbox().command(), *options, "--", sys.executable, "-I", "-S", "-c", "")
        try:
            tried = subprocess.run(
                [bwrap, *program],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=environment(),
                pass_fds=descriptors,
                timeout=_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"bubblewrap does not start here: {error}"
    if tried.returncode == 0:
        return None
    said = " ".join(tried.stderr.decode(errors="replace").split())[:_SAID] or f"status {tried.returncode}"
    return f"bubblewrap cannot make one here, it says: {said}"


class Sandbox:
    """How a sandbox is made for the worker of the peer whose folder is ``home``."""

    def __init__(self, home: Path | None = None, memory: int = 1 << 30) -> None:
        self._home = home
        self._scratch = memory // 8
        """Bytes of files that a task may have in its own ``/tmp``."""

    @contextlib.contextmanager
    def around(
        self, program: Sequence[str], blobs: Path, dataset: Sight | None
    ) -> Iterator[tuple[list[str], tuple[int, ...]]]:
        """The command that runs ``program`` inside, with the descriptors that it inherits.

        The folder ``blobs`` lies at ``BLOBS``. Raises ``LocalError`` when bubblewrap is not installed.
        """
        bwrap = shutil.which("bwrap")
        if bwrap is None:
            raise LocalError(refusal(_MISSING))
        with _filter() as (options, descriptors):
            yield [bwrap, *self.command(blobs, dataset), *options, "--", *program], descriptors

    def command(self, blobs: Path | None = None, dataset: Sight | None = None) -> list[str]:
        """The options of bubblewrap."""
        made = list(_NAMESPACES)
        for folder in filter(os.path.lexists, _TOP):
            link = os.path.islink(folder)
            made += ("--symlink", os.readlink(folder), folder) if link else ("--ro-bind", folder, folder)
        bound = [place for place in _SYSTEM if os.path.exists(place)]
        made += _read_only(bound)
        made += _hiding((_user(), self._home), bound)
        made += ("--proc", "/proc", "--dev", "/dev")
        for size, folder in ((_SHARED_MEMORY, "/dev/shm"), (self._scratch, "/tmp")):
            made += (*(("--size", str(size)) if _knows("--size") else ()), "--tmpfs", folder)
        bound = list(_python(self._home))
        made += _read_only(bound)
        made += _hiding((self._home,), bound)
        if dataset is not None:
            made += ("--ro-bind", dataset.source, dataset.path)
        if blobs is not None:
            made += ("--ro-bind", str(blobs), BLOBS)
        # Of /proc too: to a peer that runs as root the kernel's settings in it are its own, in any namespace.
        for folder in ("/proc", "/dev", "/"):
            made += ("--remount-ro", folder)
        return [*made, "--chdir", "/tmp"]

    def sight(self, path: str) -> Sight | None:
        """The dataset at ``path`` as it can be shown; ``None`` when there is nothing.

        Raises ``DataError`` when it is neither a file nor a folder, or when what is the peer's own would show with it.
        """
        try:
            source = Path(path).resolve(strict=True)
            found = source.stat()
        except (OSError, RuntimeError):  # a loop of symbolic links is one or the other
            return None
        if not (source.is_file() or source.is_dir()) or _within(source, (Path("/proc"), Path("/sys"), Path("/dev"))):
            raise DataError(f"{path} is neither a file nor a folder with data; no task is shown it")
        if self._home is not None:
            self._keep_to_itself(path, source, self._home.resolve())
        # Only the kernel can tell where ".." leads through a symbolic link.
        told = str(source) if ".." in Path(path).parts else path
        return Sight(told, str(source), (found.st_dev, found.st_ino))

    def _keep_to_itself(self, path: str, source: Path, home: Path) -> None:
        store = (home / "blobs").resolve()
        own = source.is_relative_to(home) and source != home
        first = source.relative_to(home).parts[0].lstrip(".") if own else ""
        if _within(home, (source,)) or _within(store, (source,)) or _within(source, (store,)):
            raise DataError(f"{path} has this peer's own folder {home} in it, which no task may see; move one of them")
        if first.startswith((*_OWN, *_OWN_TOO)):
            raise DataError(f"{path} is this peer's own file, which no task may see; the name is taken")


def environment() -> dict[str, str]:
    """The environment of what runs inside: what numbers and text depend on, and nothing that is secret."""
    passed = {n: v for n, v in os.environ.items() if n in _PASSED or n.startswith(_PASSED_TOO)}
    own = {"HOME": "/tmp", "TMPDIR": "/tmp", "PATH": "/usr/bin:/bin", "USER": "folkmoot", "LOGNAME": "folkmoot"}
    return passed | own | {"PYTHONPATH": os.pathsep.join((*_given("PYTHONPATH"), str(_package().parent)))}


def _package() -> Path:
    return Path(__file__).absolute().parents[1]


def _given(variable: str) -> list[str]:
    return [entry for entry in os.environ.get(variable, "").split(os.pathsep) if os.path.isabs(entry)]


def _user() -> Path:
    return Path("~").expanduser().absolute()


def _python(home: Path | None) -> Iterator[str]:
    """What this interpreter and all that it can import consist of, as far as no home directory lies in it."""
    prefixes = dict.fromkeys((sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix))
    parts = [f"{prefix}/{part}" for prefix in prefixes for part in _PREFIX_PARTS]
    homes = [place.resolve() for place in (_user(), home) if place is not None]
    entries = [*_given("PYTHONPATH"), *_given("LD_LIBRARY_PATH"), *_installed()]
    entries = [entry for entry in entries if not any(_within(place, (Path(entry).resolve(),)) for place in homes)]
    shown = [Path(place) for place in _SYSTEM]
    for place in map(Path, (*parts, *entries, str(_package()), *_links(Path(sys.executable)))):
        if place.exists() and not _within(place, shown):
            shown.append(place)
            yield str(place)


def _installed() -> Iterator[str]:
    """The folders of installed packages, and those elsewhere that are installed by naming them in a ``.pth`` file.
    ``sys.path`` has them too, and beside them the folder where the peer was started, which is nobody's business."""
    user = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    for folder in filter(os.path.isdir, (*site.getsitepackages(), *user)):
        yield folder
        for named in sorted(Path(folder).glob("*.pth")):
            with contextlib.suppress(OSError, UnicodeError):
                places = [os.path.join(folder, line.strip()) for line in named.read_text().splitlines() if line.strip()]
                yield from (place for place in places if place in sys.path)


def _links(program: Path) -> Iterator[str]:
    """The program, and what it is a symbolic link to, one after the other."""
    for _ in range(40):
        yield str(program)
        if not program.is_symlink():
            return
        program = Path(os.path.normpath(program.parent / program.readlink()))


def _read_only(places: Iterable[str]) -> Iterator[str]:
    for place in places:
        yield from ("--ro-bind", place, place)


def _hiding(folders: Iterable[Path | None], bound: Iterable[str]) -> Iterator[str]:
    """Empty folders in the place of those that would show below what is bound."""
    for folder in folders:
        for place in bound:
            source = Path(place).resolve()
            if folder is not None and _within(folder.resolve(), (source,)):
                yield from ("--tmpfs", str(Path(place) / folder.resolve().relative_to(source)))


def _within(place: Path, folders: Iterable[Path]) -> bool:
    return any(place.is_relative_to(folder) for folder in folders)


@functools.cache
def _knows(option: str) -> bool:
    """Whether the bubblewrap of this machine has an option that older ones lack."""
    told = subprocess.run(["bwrap", "--help"], capture_output=True, text=True, timeout=_SECONDS, check=False)
    return option in told.stdout + told.stderr


@contextlib.contextmanager
def _filter() -> Iterator[tuple[tuple[str, ...], tuple[int, ...]]]:
    """Options and descriptors by which bubblewrap gets the filter of calls."""
    program = filter_program()
    if program is None:
        yield (), ()
        return
    reader, writer = os.pipe()
    try:
        os.write(writer, program)  # 1 kB, and the pipe takes 4 at least
        os.close(writer)
        yield ("--seccomp", str(reader)), (reader,)
    finally:
        os.close(reader)
