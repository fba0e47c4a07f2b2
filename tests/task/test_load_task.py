import sys
from pathlib import Path

import pytest

import folkmoot
from folkmoot.errors import ProtocolError, TaskError
from folkmoot.task import load_task, make_bundle, task_error

TASK = """
import folkmoot as fm
task = fm.LogisticTask(name="t", load=lambda path: None, features=2{more})
"""


def bundle_of(tmp_path, task, others=()):
    folder = tmp_path / f"bundle{len(list(tmp_path.iterdir()))}"
    for name, text in {"task.py": task, **dict(others)}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return make_bundle(folder)


def test_the_demo_task_is_a_file_under_40_lines_of_public_names():
    path = Path(folkmoot.__file__).parent / "data" / "tasks" / "heart.py"
    assert len(path.read_text().splitlines()) < 40
    task = load_task(make_bundle(path))
    assert task.name == "heart-disease"
    assert (task.policy.rounds, task.policy.min_members, task.policy.start, task.policy.bits) == (20, 3, 4, 32)


def test_files_of_a_bundle_import_each_other_in_both_ways(tmp_path):
    bundle = bundle_of(
        tmp_path,
        "import nets.deep\nfrom nets import deep\nfrom . import plain\nfrom .nets.deep import NAME\nimport plain as p\n"
        "assert p is plain and nets.deep is deep\n"
        "import folkmoot as fm\ntask = fm.LogisticTask(name=NAME + p.END, load=None, features=1)\n",
        others={
            "plain.py": "END = '!'\n",
            "nets/__init__.py": "",
            "nets/deep.py": "from ..plain import END\nimport plain\nNAME = 'deep' + plain.END\n",
        },
    )
    assert load_task(bundle).name == "deep!!"


def test_two_tasks_with_a_module_of_one_name_do_not_meet(tmp_path):
    text = TASK.replace('"t"', "nets.NAME").replace("{more}", "").replace("import folkmoot", "import nets, folkmoot")
    one = load_task(bundle_of(tmp_path, text, {"nets.py": "NAME = 'one'"}))
    two = load_task(bundle_of(tmp_path, text, {"nets.py": "NAME = 'two'"}))
    assert (one.name, two.name) == ("one", "two")
    assert "nets" not in sys.modules


def test_with_a_workdir_the_code_finds_its_files_beside_it(tmp_path):
    folder, work = tmp_path / "src", tmp_path / "work"
    folder.mkdir()
    (folder / "name.txt").write_text("from a file")
    (folder / "task.py").write_text(
        "from pathlib import Path\nNAME = (Path(__file__).parent / 'name.txt').read_text()\n"
        + TASK.replace('"t"', "NAME").replace("{more}", "")
    )
    assert load_task(make_bundle(folder), work).name == "from a file"
    (next(work.iterdir()) / "name.txt").write_text("half a f")
    assert load_task(make_bundle(folder), work).name == "from a file"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n\nraise ValueError('no luck')\n", r"does not load \(task.py, line 3\): ValueError: no luck"),
        ("x = (\n", r"\(task.py, line 1\): SyntaxError"),
        ("import helper\n", r"No module named 'helper'.*Put helper.py beside task.py"),
        ("import sys\nsys.exit(3)\n", r"\(task.py, line 2\): SystemExit: 3"),
        ("x = 1\n", "defines no `task`"),
        ("task = 3\n", "is a int without init, schema"),
        ("import folkmoot as fm\ntask = fm.LogisticTask\n", "is the class LogisticTask; make one"),
        (TASK.format(more="") + "task.policy = 3\n", "is not a Policy"),
        (TASK.format(more="") + "task.name = ''\n", "use 1 to 100 printable characters"),
        (TASK.format(more=", policy=fm.Policy(bits=17)"), r"\(task.py, line 3\): ValueError: policy.bits is 17"),
        (TASK.format(more=", lerning_rate=1"), r"\(task.py, line 3\): TypeError: .*lerning_rate"),
        ("import folkmoot as fm\nfm.TorhcTask\n", r"\(task.py, line 2\): AttributeError: .*TorhcTask"),
        ("\0", "SyntaxError|ValueError"),
        ("# coding: nonsense\n", "does not load"),
    ],
)
def test_a_task_file_that_fails_is_named_with_its_line(tmp_path, text, message):
    with pytest.raises(TaskError, match=message):
        load_task(bundle_of(tmp_path, text))


def test_an_error_in_a_file_beside_the_task_names_that_file(tmp_path):
    with pytest.raises(TaskError, match=r"\(nets\.py, line 2\): ZeroDivisionError"):
        load_task(bundle_of(tmp_path, "import nets\n", {"nets.py": "x = 1\n1 / 0\n"}))


def test_an_error_while_training_names_the_line_too(tmp_path):
    text = "def load(path):\n    return {}['age']\n" + TASK.replace("lambda path: None", "load").replace("{more}", "")
    task = load_task(bundle_of(tmp_path, text))
    with pytest.raises(KeyError) as caught:
        task.load("x")
    error = task_error("failed in load", caught.value)
    assert str(error) == "The task failed in load (task.py, line 2): KeyError: 'age'."


def test_bytes_that_are_no_bundle_are_the_other_sides_fault():
    with pytest.raises(ProtocolError):
        load_task(b"garbage")
