"""Every line that defends something is taken out, and the tests that are said to notice it have to fail.

A copy of the sources and the tests is changed, one line at a time, and the named tests run there. ``make test`` runs
none of this; a single case is ``pytest -m long tests/mutations -k trimming``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from defences import DEFENCES, TESTS, Defence

REPOSITORY = Path(__file__).parents[2]
SECONDS = 600.0
FAILED = re.compile(r"^FAILED (\S+?::\w+)", re.M)
BUILD = (
    "from folkmoot.ledger import build;"
    "[(build.FOLDER / f'{name}.json').write_text(build.artefact(name)) for name in build.CONTRACTS]"
)
pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Copy:
    """Sources and tests in a folder of their own."""

    folder: Path

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        # no bytecode: what was compiled a moment ago of a file of the same size would be taken for the changed one
        environment = os.environ | {"PYTHONPATH": str(self.folder / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            [sys.executable, *words], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=SECONDS
        )

    def pytest(self, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "pytest", "-p", "no:cacheprovider", "-rf", *(TESTS + test for test in tests))

    def build(self) -> None:
        """Make the contracts' artefacts from their sources."""
        made = self.python("-c", BUILD)
        assert made.returncode == 0, made.stderr


@pytest.fixture(scope="session")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    folder = tmp_path_factory.mktemp("mutations")
    for name in ("src", "tests"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis"))
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    made = Copy(folder)
    imported = made.python("-c", "import folkmoot; print(folkmoot.__file__)").stdout.strip()
    assert imported == str(folder / "src" / "folkmoot" / "__init__.py"), "another folkmoot than the copy is imported"
    return made


def test_with_all_defences_in_place_nothing_fails(copy: Copy) -> None:
    tests = sorted({test for defence in DEFENCES for test in defence.noticed_by})
    done = copy.pytest(tests)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("defence", DEFENCES, ids=lambda defence: defence.name)
def test_a_defence_that_is_taken_out_is_missed(copy: Copy, defence: Defence) -> None:
    file = copy.folder / defence.file
    source = file.read_text()
    assert source.count(defence.line) == 1, f"{defence.file} has {defence.line!r} {source.count(defence.line)} times"
    artefact = file.with_suffix(".json")
    built = artefact.read_text() if file.suffix == ".vy" else ""
    try:
        file.write_text(source.replace(defence.line, defence.becomes))
        if built:
            copy.build()
        done = copy.pytest(defence.noticed_by)
    finally:
        file.write_text(source)
        if built:
            artefact.write_text(built)
    assert done.returncode == 1, done.stdout[-3000:]
    failed = set(FAILED.findall(done.stdout))
    unmoved = [test for test in defence.noticed_by if TESTS + test not in failed]
    assert not unmoved, f"without it these tests pass all the same: {unmoved}"
