import os

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from folkmoot.digest import blob_hash
from folkmoot.errors import ProtocolError, TaskError
from folkmoot.task import make_bundle, read_bundle
from folkmoot.task.bundle import _MAGIC


def write(folder, **files):
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path = path.with_name(path.name + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_the_bytes_of_a_bundle_never_change(tmp_path):
    write(tmp_path, task="task = 1\n", nets__deep="x = 2\n")
    assert blob_hash(make_bundle(tmp_path)).hex() == "6953ad50b22694968dadb72a6befbcee44fcb59be8c3713a597d0388e24bccaf"


def test_one_file_and_a_folder_with_only_that_file_are_the_same_bundle(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    write(folder, task="task = 1\n")
    alone = tmp_path / "heart.py"
    alone.write_text("task = 1\n")
    assert make_bundle(alone) == make_bundle(folder)
    assert read_bundle(make_bundle(alone)) == {"task.py": b"task = 1\n"}


def test_times_modes_and_order_of_creation_do_not_matter(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, names in ((one, ("task", "b", "a")), (two, ("a", "b", "task"))):
        folder.mkdir()
        for name in names:
            write(folder, **{name: name})
    os.utime(two / "a.py", (0, 0))
    (two / "a.py").chmod(0o755)
    assert make_bundle(one) == make_bundle(two)


def test_caches_and_hidden_files_stay_out_and_text_stays_as_it_is(tmp_path):
    write(tmp_path, task="a\r\nb", __pycache____x="no")
    (tmp_path / "__pycache__").mkdir(exist_ok=True)
    (tmp_path / "__pycache__" / "task.pyc").write_bytes(b"no")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("no")
    (tmp_path / ".secret").write_text("no")
    (tmp_path / "task.py").write_bytes(b"a\r\nb")
    assert read_bundle(make_bundle(tmp_path))["task.py"] == b"a\r\nb"
    assert not [
        name for name in read_bundle(make_bundle(tmp_path)) if "secret" in name or "git" in name or "pyc" in name
    ]


def test_symbolic_links_are_refused_by_name(tmp_path):
    write(tmp_path, task="x")
    (tmp_path / "data.csv").symlink_to("/etc/hostname")
    with pytest.raises(TaskError, match=r"data\.csv is a symbolic link"):
        make_bundle(tmp_path)
    with pytest.raises(TaskError, match="symbolic link"):
        make_bundle(tmp_path / "data.csv")


def test_a_pipe_is_refused_rather_than_read(tmp_path):
    write(tmp_path, task="x")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TaskError, match="pipe is not a regular file"):
        make_bundle(tmp_path)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(TaskError, match=r"nothing\.py does not exist"):
        make_bundle(tmp_path / "nothing.py")
    write(tmp_path, model="x")
    with pytest.raises(TaskError, match=r"holds no task\.py"):
        make_bundle(tmp_path)


def test_a_bundle_has_a_limit_and_the_file_over_it_is_named(tmp_path):
    write(tmp_path, task="x")
    (tmp_path / "zz.bin").write_bytes(bytes(1000))
    assert make_bundle(tmp_path, limit=2000)
    with pytest.raises(TaskError, match=r"zz\.bin exceeds 500 bytes"):
        make_bundle(tmp_path, limit=500)
    with pytest.raises(ProtocolError, match="exceeds the limit of 500"):
        read_bundle(make_bundle(tmp_path), limit=500)


def packed(*pairs):
    return _MAGIC + msgspec.msgpack.encode(list(pairs))


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd", "../up.py", "a/../../up.py", "a//b.py", "./a.py", "a/", "", "a\\b.py", "C:x.py", "nul\0.py",
        ".hidden", "a/.hidden", "x" * 300, "line\nfeed.py", "a ", "e\u0301.py", "\ud800.py", "\u202e.py",
    ],
)  # fmt: skip
def test_names_that_climb_or_mean_something_else_elsewhere_are_refused(name):
    try:
        bundle = packed(*sorted([[name, b""], ["task.py", b""]]))
    except UnicodeEncodeError:
        return
    with pytest.raises(ProtocolError, match="not a plain relative file name"):
        read_bundle(bundle)


@pytest.mark.parametrize(
    ("bundle", "message"),
    [
        (b"", "does not begin"),
        (b"PK\x03\x04", "does not begin"),
        (_MAGIC, "truncated"),
        (packed(["a.py", b""]), "holds no task.py"),
        (packed(["task.py", b""], ["task.py", b"x"]), "twice or out of order"),
        (packed(["task.py", b""], ["a.py", b"x"]), "twice or out of order"),
        (packed(["Task.py", b""], ["task.py", b"x"]), "differ only in case"),
        (packed(["a", b""], ["a/b.py", b""], ["task.py", b""]), "under the name of a file"),
        (packed(["task.py", b""]) + b"x", "trailing"),
        (packed(*[[f"{i:04}.py", b""] for i in range(1000)], ["task.py", b""]), "more than 1000"),
        (_MAGIC + b"\xdd\xff\xff\xff\xff", "truncated"),
        (_MAGIC + b"\x91" * 100_000, "not a task bundle"),
        (_MAGIC + b"\xdc\x00\x01\x92\xa7task.py\xc4\x00", "canonical"),
    ],
)
def test_hostile_bundles_are_refused_with_the_reason(bundle, message):
    with pytest.raises(ProtocolError, match=message):
        read_bundle(bundle)


@given(st.binary(max_size=200))
def test_random_bytes_are_no_bundle(data):
    for bundle in (data, _MAGIC + data):
        with pytest.raises(ProtocolError):
            read_bundle(bundle)


PART = st.text(st.sampled_from("abz09_-é文"), min_size=1, max_size=8)


@given(st.dictionaries(st.lists(PART, min_size=1, max_size=3).map("/".join), st.binary(max_size=50), max_size=5))
def test_files_come_back_as_they_were(tmp_path_factory, files):
    files = {f"d/{name}.py": content for name, content in files.items()} | {"task.py": b"task"}
    folder = tmp_path_factory.mktemp("bundle")
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    bundle = make_bundle(folder)
    assert read_bundle(bundle) == dict(sorted(files.items()))
