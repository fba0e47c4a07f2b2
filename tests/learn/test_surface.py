import subprocess
import sys

import pytest

import folkmoot as fm

BLOCK = """
import sys
class Missing:
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in ("torch", "sklearn"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
"""


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def test_every_public_name_is_there():
    assert all(getattr(fm, name) is not None for name in fm.__all__)
    assert set(fm.__all__) <= set(dir(fm))
    with pytest.raises(AttributeError, match="no attribute 'Tocrh'"):
        fm.Tocrh  # noqa: B018


def test_importing_folkmoot_imports_nothing_heavy():
    done = run(
        "import sys, folkmoot as fm; print([m for m in ('numpy', 'torch', 'sklearn', 'web3') if m in sys.modules]);"
        "fm.LogisticTask; fm.metrics.roc_auc; print([m for m in ('torch', 'sklearn', 'web3') if m in sys.modules])"
    )
    assert done.stdout.split("\n")[:2] == ["[]", "[]"], done.stderr


@pytest.mark.parametrize(("name", "extra"), [("TorchTask", "torch"), ("SklearnTask", "sklearn")])
def test_a_missing_extra_says_what_to_install(name, extra):
    done = run(f"{BLOCK}\nimport folkmoot as fm\ntry: fm.{name}\nexcept fm.TaskError as error: print(error)")
    assert f"pip install 'folkmoot[{extra}]'" in done.stdout, done.stderr


def test_a_task_file_that_imports_a_missing_extra_says_what_to_install(tmp_path):
    (tmp_path / "task.py").write_text("import folkmoot as fm\nfrom torch import nn\n")
    done = run(
        f"{BLOCK}\nimport folkmoot as fm\nfrom folkmoot.task import load_task, make_bundle\n"
        f"try: load_task(make_bundle({str(tmp_path / 'task.py')!r}))\nexcept fm.TaskError as error: print(error)"
    )
    assert "(task.py, line 2)" in done.stdout, done.stderr
    assert "pip install 'folkmoot[torch]'" in done.stdout
