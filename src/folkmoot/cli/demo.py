"""``folkmoot demo``: real hospitals' data, real processes, a real kill, and a proof at the end."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from folkmoot.cli.demo_settings import Attack, choose

if TYPE_CHECKING:
    from folkmoot.cli.demo_settings import Settings

__all__ = ["demo", "kept_folder", "leaving_on_signals"]

_MODEL = Path("folkmoot-demo.safetensors")


def demo(
    peers: Annotated[
        int | None,
        typer.Option(
            help="Peers: up to four hospitals, or their clinics; the others only help.",
            min=3,
            max=32,
            show_default="5; 8 with --attack; 12 with both",
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(help="Rounds of training.", min=2, max=1000)] = 20,
    private: Annotated[
        bool, typer.Option("--private", help="Add up contributions under masks: no member sees another's.")
    ] = False,
    attack: Annotated[
        Attack | None,
        typer.Option(
            help="Deal each hospital's patients to clinics, one of which lies in this way, against a robust rule."
            " With --private nobody is killed: the rule sees three secret groups of four, which take all twelve.",
        ),
    ] = None,
    no_kill: Annotated[bool, typer.Option("--no-kill", help="Kill nobody; a seed then gives one model.")] = False,
    keep: Annotated[
        Path | None, typer.Option(help="Keep everything in this new folder.", metavar="DIR", file_okay=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides all keys, the held-out patients, who is killed and who lies.")] = 0,
) -> None:
    """Watch four hospitals train one model with no server, through the sudden death of one of them.

    With --private no member sees what another contributes; with --attack one of them lies; both go together.

    Every peer is a process of its own on this machine, with its own key, data and disk. The data are the
    UCI heart-disease files. Nothing is sent anywhere else.
    """
    began = time.monotonic()
    settings = choose(peers=peers, rounds=rounds, kill=not no_kill, seed=seed, private=private, attack=attack)
    with leaving_on_signals(), kept_folder(keep) as folder:
        _run(settings, folder, folder / "model.safetensors" if keep else _MODEL, began)
        if keep:
            print(f"everything is in {folder}; look around: folkmoot log 1 --home {folder / settings.names[0]}")


def _run(settings: Settings, folder: Path, model: Path, began: float) -> None:
    from rich.console import Console

    from folkmoot.cli.demo_course import run_course
    from folkmoot.cli.demo_report import report

    console = Console()
    moot, task = run_course(settings, folder, console, began)
    report(moot, task, settings, console, model)


@contextlib.contextmanager
def kept_folder(keep: Path | None) -> Iterator[Path]:
    """A folder that is removed afterwards, or ``keep``, which has to be new. Raises ``LocalError`` where it is not."""
    if keep is None:
        # Short, and not below a home directory: whole paths appear in what the demo prints.
        folder = Path(tempfile.mkdtemp(prefix="folkmoot-demo-"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    from folkmoot.errors import LocalError

    if keep.exists() and any(keep.iterdir()):
        raise LocalError(f"{keep} is not empty; name a new folder with --keep")
    keep.mkdir(parents=True, exist_ok=True)
    yield keep.absolute()


@contextlib.contextmanager
def leaving_on_signals() -> Iterator[None]:
    """SIGTERM and a closed terminal end a command as Ctrl-C does, through every ``finally`` on the way."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {sign: signal.signal(sign, leave) for sign in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except KeyboardInterrupt:
        print("\nstopped; no peer is left running", file=sys.stderr)
        raise SystemExit(130) from None
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
