"""Every snippet of docs/tasks.md, run: tasks are tried and checked, the rest is executed beside them."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import Folkmoot

PAGE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
TASKS = [snippet for snippet in SNIPPETS if snippet.startswith("# task.py")]
SEXES = ("female", "male")


def write_data(folder: Path, snippet: str) -> list[Path]:
    """Two members' data of the kind that the task reads."""
    made = []
    for member, name in enumerate(("a.csv", "b.csv")):
        rng = np.random.default_rng(member)
        x = rng.random((24, 2))
        y = (x[:, 0] > 0.5).astype(int)
        if "DictReader" in snippet:
            rows = [f"{a:.3f},{SEXES[label]},{b:.3f},{label}" for (a, b), label in zip(x, y, strict=True)]
            text = "age,sex,dose,ill\n" + "\n".join(rows).replace(rows[0], "," + rows[0].split(",", 1)[1])
        elif "histogram" in snippet:
            text = "\n".join(f"{a:.3f}" for a in x[:, 0])
        else:
            labels = ("well", "ill") if "LABELS" in snippet else ("0", "1")
            text = "\n".join(f"{a:.3f},{b:.3f},{labels[label]}" for (a, b), label in zip(x, y, strict=True))
        (folder / name).write_text(text + "\n")
        made.append(folder / name)
    return made


@pytest.mark.parametrize("snippet", TASKS, ids=lambda snippet: re.search(r'name ?= ?"(\w+)"', snippet)[1])
def test_each_task_of_the_page_is_tried_and_passes_its_rehearsal(
    folkmoot: Folkmoot, snippet: str, tmp_path: Path
) -> None:
    source = tmp_path / "task"
    source.mkdir()
    (source / "task.py").write_text(snippet)
    (source / "labels.txt").write_text("well ill\n")
    data = write_data(tmp_path, snippet)
    tried = folkmoot("try", source, *data)
    assert tried.code == 0, tried.err
    checked = folkmoot("check", source, "--data", data[0], "--data", data[1])
    assert checked.code == 0, checked.out + checked.err


def test_the_comparison_of_the_page_runs_beside_its_first_task(tmp_path: Path) -> None:
    (comparison,) = [snippet for snippet in SNIPPETS if snippet not in TASKS]
    (tmp_path / "task.py").write_text(TASKS[0])
    write_data(tmp_path, TASKS[0])
    ran = subprocess.run([sys.executable, "-c", comparison], cwd=tmp_path, capture_output=True, text=True)
    assert [line.split()[0] for line in ran.stdout.splitlines()] == ["alone", "together", "pooled"], ran.stderr
