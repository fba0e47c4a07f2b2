"""From a bundle to its task: the user's code, run as modules of its own.

The files of a bundle become one package whose name is derived from the bundle's hash, so two tasks with a
``nets.py`` each never meet. Inside it ``from . import nets`` and plain ``import nets`` both work, and files that are no
code are read from beside ``__file__``, or through ``importlib.resources`` and ``pkgutil.get_data``.
"""

from __future__ import annotations

import atexit
import builtins
import errno
import functools
import importlib
import linecache
import os
import shutil
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.resources.abc import TraversableResources
from importlib.util import decode_source
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from folkmoot.digest import blob_hash
from folkmoot.errors import FolkmootError, TaskError
from folkmoot.task.bundle import TASK_FILE, read_bundle
from folkmoot.task.pin import PIN_FILE, Pin, pin_of
from folkmoot.task.policy import Policy
from folkmoot.task.protocol import State, Task
from folkmoot.task.watched import METHODS

__all__ = ["author_traceback", "authored", "load_task", "task_error"]

_PREFIX = "folkmoot_task_"
_EXTRAS = {"torch": "torch", "sklearn": "sklearn", "opacus": "private"}
_PACKAGES = {
    **{"cv2": "opencv-python", "PIL": "pillow", "skimage": "scikit-image", "yaml": "pyyaml", "Bio": "biopython"},
    **{name: name for name in ("lifelines", "matplotlib", "monai", "nibabel", "openpyxl", "pandas", "peft", "polars")},
    **{name: name for name in ("pyarrow", "pydicom", "scipy", "statsmodels", "timm", "torchvision", "transformers")},
    **{name: name for name in ("h5py", "lightgbm", "tqdm", "xgboost")},
}
"""By name of import, packages that tasks often use; no author has a file of that name."""

_loading = threading.RLock()
"""One load at a time: two threads that load the same bundle would take each other's modules away."""


def load_task(bundle: bytes, workdir: Path | None = None) -> Task:
    """Run the bundle's ``task.py`` and return the ``task`` it defines.

    The files of a folder are written to ``workdir/<hash>``, where the code finds them beside its ``__file__``; without
    ``workdir``, to a temporary folder that is removed when this process ends. A lone ``task.py`` stays in memory. Each
    call runs the code afresh.

    Raises ``ProtocolError`` if the bytes are no bundle, and ``TaskError`` if the code raises (with file and
    line), defines no ``task``, or defines one that breaks the `Task` protocol.
    """
    files = read_bundle(bundle)
    name = blob_hash(bundle).hex()
    package = _PREFIX + name[:16]
    alone = workdir is None and files.keys() <= {TASK_FILE, PIN_FILE}
    folder = f"<task {name[:12]}>" if alone else _unpack(files, Path(workdir or _scratch(os.getpid())) / name)
    with _loading:
        _forget(package)
        sys.meta_path.append(_Importer(package, files, folder))
        try:
            module = importlib.import_module(f"{package}.{TASK_FILE.removesuffix('.py')}")
        except (Exception, SystemExit) as error:
            raise task_error("does not load", error) from error
    task, pin = _checked(module), pin_of(files)
    return task if pin is None else _continued(task, pin)


def _continued(task: Task, pin: Pin) -> Task:
    """The task, with the pin's rounds and without a first state of its own."""

    def init() -> State:
        raise TaskError(
            f"The task continues task {pin.task} and starts from its model {pin.model[:12]}, not from init."
        )

    terms = {**msgspec.structs.asdict(task.policy), "rounds": pin.rounds, "begun": pin.begun}
    terms["start_members"] = pin.start_members
    try:
        policy = Policy(**terms)
        object.__setattr__(task, "policy", policy)
        object.__setattr__(task, "init", init)
    except (AttributeError, TypeError, ValueError) as error:
        raise TaskError(f"The task cannot be continued with {pin.rounds} rounds: {error}.") from None
    return task


def task_error(doing: str, error: BaseException) -> TaskError:
    """``error``, raised by a task's code, as a ``TaskError`` whose message has file and line of that code.

    ``doing`` completes "The task ...": "does not load", "failed in contribute".
    """
    place, importer = _place(error)
    what = (error.msg if isinstance(error, SyntaxError) else str(error)).strip().rstrip(".")
    if not isinstance(error, FolkmootError):
        what = f"{type(error).__name__}: {what}" if what else type(error).__name__
    wrapped = TaskError(f"The task {doing}{f' ({place})' if place else ''}: {what}.{_hint(error, importer)}")
    wrapped.where = place
    return wrapped


@contextmanager
def authored(doing: str) -> Iterator[None]:
    """Have whatever a task's code raises inside told as its author's, as ``task_error`` tells it."""
    try:
        yield
    except FolkmootError:
        raise
    except (Exception, SystemExit) as error:
        raise task_error(doing, error) from error


def author_traceback(error: BaseException) -> str:
    """The traceback of ``error`` from the first line of a bundle's code on; empty where it passed none."""
    folders = tuple(f"{finder.folder}/" for finder in sys.meta_path if isinstance(finder, _Importer))
    told = traceback.TracebackException.from_exception(error)
    own = [frame.filename.startswith(folders) for frame in told.stack]
    if not any(own):
        return ""
    told.stack = traceback.StackSummary.from_list(list(told.stack)[own.index(True) :])
    return "".join(told.format(chain=False))


class _Importer(MetaPathFinder, InspectLoader):
    """Finds and runs the modules of one bundle, from its files in memory."""

    def __init__(self, package: str, files: Mapping[str, bytes], folder: str) -> None:
        self.package = package
        self.files, self.folder = files, folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a module of this bundle, else ``None``."""
        file = "__init__.py" if fullname == self.package else self._file(fullname)
        if file is None:
            return None
        spec = ModuleSpec(fullname, self, origin=f"{self.folder}/{file}", is_package=self.is_package(fullname))
        spec.has_location = True
        return spec

    def is_package(self, fullname: str) -> bool:
        """Whether the module is a folder with an ``__init__.py``."""
        return fullname == self.package or (self._file(fullname) or "").endswith("/__init__.py")

    def get_source(self, fullname: str) -> str:
        """The text of the module's file."""
        file = self._file(fullname)
        return "" if file is None else decode_source(self.files[file])

    def get_data(self, path: str) -> bytes:
        """The bytes of a file of the bundle; for ``pkgutil.get_data``."""
        name = self.name_of(path)
        if name is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return self.files[name]

    def get_resource_reader(self, fullname: str) -> TraversableResources:
        """The files beside a module; for ``importlib.resources``."""
        file = self._file(fullname) or TASK_FILE
        return _Beside(Path(self.folder, file).parent)

    def name_of(self, path: str) -> str | None:
        """The name that the file at ``path`` has in the bundle, if it is one of its files."""
        name = os.path.relpath(path, self.folder).replace(os.sep, "/")
        return name if name in self.files else None

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code; its ``import`` statements see the bundle's own top-level modules first."""
        if module.__name__ == self.package:
            return
        source, filename = self.get_source(module.__name__), str(module.__file__)
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": self._import}
        exec(compile(source, filename, "exec", dont_inherit=True), vars(module))

    def _file(self, fullname: str) -> str | None:
        if not fullname.startswith(f"{self.package}."):
            return None
        stem = fullname.removeprefix(f"{self.package}.").replace(".", "/")
        return next((name for name in (f"{stem}/__init__.py", f"{stem}.py") if name in self.files), None)

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """``__import__`` as the bundle's code sees it."""
        top = name.split(".")[0]
        if level or self._file(f"{self.package}.{top}") is None:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        module = importlib.import_module(f"{self.package}.{name}")
        for item in fromlist or ():
            if not hasattr(module, item) and self._file(f"{module.__name__}.{item}"):
                importlib.import_module(f"{module.__name__}.{item}")
        return module if fromlist else sys.modules[f"{self.package}.{top}"]


class _Beside(TraversableResources):
    """The files of one folder of a bundle."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def files(self) -> Path:
        """The folder."""
        return self._folder


def _forget(package: str) -> None:
    """Take an earlier load of the same bundle out of the import system."""
    sys.meta_path[:] = [
        finder for finder in sys.meta_path if not (isinstance(finder, _Importer) and finder.package == package)
    ]
    for name in [name for name in list(sys.modules) if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]


@functools.cache
def _scratch(process: int) -> Path:
    """A folder for the files of this ``process``'s tasks. It is removed when that ends, and not when a fork does."""

    def remove() -> None:
        if os.getpid() == process:
            shutil.rmtree(folder, ignore_errors=True)

    try:
        folder = tempfile.mkdtemp(prefix="folkmoot-task-")
    except OSError as error:
        raise TaskError(f"The task's files cannot be written to a temporary folder: {error.strerror}.") from None
    atexit.register(remove)
    return Path(folder)


def _unpack(files: Mapping[str, bytes], folder: Path) -> str:
    """Write the files under ``folder``, whole or not at all; what a crash left there before is replaced."""
    try:
        for name, content in files.items():
            target = folder / name
            if target.is_file() and not target.is_symlink() and target.read_bytes() == content:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".", delete=False) as file:
                file.write(content)
            os.replace(file.name, target)
    except OSError as error:
        raise TaskError(f"The task's files cannot be written under {folder}: {error.strerror or error}.") from None
    return str(folder)


def _place(error: BaseException) -> tuple[str, _Importer | None]:
    """The last place of a bundle's own code that ``error`` passed, ``"task.py, line 3"``, and the bundle, if any."""
    importers = [finder for finder in sys.meta_path if isinstance(finder, _Importer)]
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        places.append((error.filename or "", error.lineno))
    for filename, line in reversed(places):
        for importer in importers:
            if filename.startswith(f"{importer.folder}/"):
                return f"{filename[len(importer.folder) + 1 :]}, line {line}", importer
    return "", None


def _hint(error: BaseException, importer: _Importer | None) -> str:
    if isinstance(error, FileNotFoundError) and importer is not None:
        return _where_files_are(None if error.filename is None else os.fsdecode(error.filename), importer)
    return _where_modules_are(error.name or "") if isinstance(error, ModuleNotFoundError) else ""


def _where_modules_are(name: str) -> str:
    """What to do about a module that the bundle's code imports in vain: whose it is decides."""
    top = name.split(".")[0]
    if top.startswith(_PREFIX):
        file = name.partition(".")[2].replace(".", "/")
        return f" Put {file}.py beside {TASK_FILE} in one folder and propose the folder."
    if top in _EXTRAS:
        return f" Install it, at every member, with: pip install 'folkmoot[{_EXTRAS[top]}]'"
    if top in sys.stdlib_module_names:
        return f" This Python ({sys.version_info.major}.{sys.version_info.minor}) has none in its standard library."
    if top != name and top in sys.modules:
        return f" The {top} that is installed here has none: have every member install the version that has it."
    package = _PACKAGES.get(top, top)
    install = f" Every member has to install it beside Folkmoot: pip install {package}"
    if top in _PACKAGES or not top:
        return install
    return f"{install} (if it is a file of your own, put {top}.py beside {TASK_FILE} and propose the folder)"


def _where_files_are(path: str | None, importer: _Importer) -> str:
    """What to do about a file that the bundle's code sought in vain; nothing where it is none of the task's."""
    if path is None:
        return " The task's own files lie beside its code: open them under Path(__file__).parent."
    if os.path.isabs(path) and not path.startswith(f"{importer.folder}/"):
        return ""
    name = path.removeprefix(f"{importer.folder}/").removeprefix("./")
    if name in importer.files:
        return f" The task's own files lie beside its code: open Path(__file__).parent / {name!r}."
    return f" Put {name} beside {TASK_FILE} in one folder and propose the folder."


def _checked(module: ModuleType) -> Task:
    """The module's ``task``, if it keeps the protocol as far as one can see without running it."""
    if not hasattr(module, "task"):
        raise TaskError(f"{TASK_FILE} defines no `task`; end it with `task = fm.LogisticTask(...)` or another task.")
    task: Any = module.task
    if isinstance(task, type):
        raise TaskError(f"`task` in {TASK_FILE} is the class {task.__name__}; make one: `task = {task.__name__}(...)`.")
    missing = [name for name in METHODS if not callable(getattr(task, name, None))]
    if missing:
        raise TaskError(f"`task` in {TASK_FILE} is a {type(task).__name__} without {', '.join(missing)}().")
    if not isinstance(getattr(task, "policy", None), Policy):
        raise TaskError(f"`task.policy` in {TASK_FILE} is not a Policy; give `policy=fm.Policy(rounds=...)`.")
    if task.policy.begun:
        raise TaskError(
            f"`task.policy` in {TASK_FILE} sets begun={task.policy.begun}; leave it out, it is set where"
            " a task continues another one's model."
        )
    name = getattr(task, "name", None)
    if not isinstance(name, str) or not 1 <= len(name) <= 100 or not name.isprintable():
        raise TaskError(f"`task.name` in {TASK_FILE} is {name!r:.60}; use 1 to 100 printable characters.")
    kept: Task = task
    return kept
