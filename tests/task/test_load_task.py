import os
import subprocess
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
        (
            "import helper\n",
            r"No module named 'helper'.*pip install helper \(if it is a file .*helper.py beside task.py",
        ),
        ("from .nets import x\n", r"\. Put nets.py beside task.py in one folder"),
        ("import pydicom\n", r"Every member has to install it beside Folkmoot: pip install pydicom$"),
        ("import cv2\n", r"pip install opencv-python$"),
        ("import numpy.nothing\n", r"The numpy that is installed here has none: have every member"),
        ("import winreg\n", r"This Python \(3\.\d+\) has none in its standard library"),
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


READ_FILES = """
import importlib.resources, pkgutil
from pathlib import Path
import folkmoot as fm

HERE = Path(__file__).parent
words = [
    (HERE / "words.txt").read_text(),
    importlib.resources.files(__package__).joinpath("words.txt").read_text(),
    importlib.resources.read_text(__package__, "words.txt"),
    pkgutil.get_data(__package__, "words.txt").decode(),
    pkgutil.get_data(__name__, "words.txt").decode(),
    importlib.resources.files(__package__).joinpath("more/words.txt").read_text(),
    pkgutil.get_data(__package__, "more/words.txt").decode(),
]
with importlib.resources.as_file(importlib.resources.files(__package__) / "words.txt") as path:
    words.append(path.read_text())
from nets import WORDS
words.append(WORDS)
assert set(words) == {"yes"}, words
task = fm.LogisticTask(name="read", load=None, features=1)
"""
NESTED = "import importlib.resources as r\nWORDS = (r.files(__package__) / 'words.txt').read_text()\n"


def test_files_that_are_no_python_are_read_in_every_way_that_python_has(tmp_path):
    words = dict.fromkeys(("words.txt", "more/words.txt", "nets/words.txt"), "yes")
    bundle = bundle_of(tmp_path, READ_FILES, {**words, "nets/__init__.py": NESTED})
    assert load_task(bundle).name == "read"
    assert load_task(bundle, tmp_path / "work").name == "read"


@pytest.mark.parametrize(
    ("others", "opened", "hint"),
    [
        ({}, "'words.txt'", "Put words.txt beside task.py in one folder and propose the folder"),
        ({"nets.py": ""}, "HERE / 'words.txt'", "Put words.txt beside task.py in one folder and propose the folder"),
        ({"words.txt": ""}, "'./words.txt'", "open Path(__file__).parent / 'words.txt'"),
        ({}, "'/no/such/data.csv'", "No such file or directory: '/no/such/data.csv'."),
    ],
)
def test_a_file_that_is_not_found_is_named_with_what_to_do(tmp_path, others, opened, hint):
    text = f"from pathlib import Path\nHERE = Path(__file__).parent\nopen({opened})\n"
    with pytest.raises(TaskError) as caught:
        load_task(bundle_of(tmp_path, text, others))
    assert str(caught.value).startswith("The task does not load (task.py, line 3): FileNotFoundError")
    assert hint in str(caught.value)


def test_the_files_of_a_task_are_gone_when_the_process_ends(tmp_path):
    folder = tmp_path / "task"
    folder.mkdir()
    (folder / "words.txt").write_text("yes")
    (folder / "task.py").write_text(TASK.format(more="") + "task.at = __file__")
    program = (
        "import sys; from folkmoot.task import load_task, make_bundle\n"
        "import os\nfile = load_task(make_bundle(sys.argv[1])).at\n"
        "assert os.path.exists(file)\nif (child := os.fork()): os.waitpid(child, 0)\nelse: sys.exit()\n"
        "assert os.path.exists(file)\nprint(file)"
    )
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", program, folder], env=env, capture_output=True, text=True, check=True)
    assert ran.stdout.startswith(str(tmp_path))
    assert not Path(ran.stdout.strip()).exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["task"]
