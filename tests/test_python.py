"""The Pythons that are promised, and what someone with another one is told."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LATER = """#!/bin/sh
exec {python} -c 'import sys; sys.version_info = {version}; sys.version = "{text} (main)"; exec(sys.argv[1])' "$2"
"""


def promised() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [found[1] for line in project["classifiers"] if (found := re.fullmatch(r".*:: Python :: (3\.\d+)", line))]


def test_what_is_promised_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    first, last = promised()[0], promised()[-1]
    assert project["requires-python"] == f">={first},<3.{int(last.split('.')[1]) + 1}"
    assert f"for version in {' '.join(promised())};" in (ROOT / ".ci" / "run").read_text()
    assert f"Python {first} or {last}" in (ROOT / "CONTRIBUTING.md").read_text()


@pytest.mark.parametrize("version", [(3, 10, 14), (3, 13, 0), (3, 14, 1)])
def test_make_with_another_python_says_which_ones_it_takes_and_why(tmp_path: Path, version: tuple[int, ...]) -> None:
    text = ".".join(map(str, version))
    other = tmp_path / "python"
    other.write_text(LATER.format(python=sys.executable, version=version, text=text))
    other.chmod(0o755)
    ran = subprocess.run(
        ["make", f"PYTHON={other}", f"VENV={tmp_path / 'venv'}", "demo"], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode != 0
    assert f"folkmoot runs on Python 3.11 and 3.12, and this is {text}: pyrevm" in ran.stderr
    assert not (tmp_path / "venv").exists()
