"""A task says what its data looks like, and each member's is held against that before anything is trained on it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from folkmoot.errors import DataError, TaskError
from folkmoot.task import make_bundle
from folkmoot.task.by_name import finds_by_name
from folkmoot.task.data_check import check_data, check_file
from folkmoot.task.data_schema import DataSchema, declared, pinned, schema_in, schema_of
from folkmoot.task.examples import count_examples

HEADER = "age,thalach,chol,num"
ROWS = "63,150,233,0\n67,108,286,1\n"


@dataclass
class Author:
    """A task, as far as its data is concerned."""

    columns: Any = None


def load(path: str) -> Any:
    """What a plain ``load`` gives: the names of the columns are lost on it."""
    table = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
    return (table[:, :-1], table[:, -1]), (table[:1, :-1], table[:1, -1])


def written(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def held_against(schema: DataSchema, path: str) -> None:
    check_file(schema, path)
    check_data(schema, load(path), path)


@pytest.fixture
def mine(tmp_path: Path) -> str:
    return written(tmp_path, "mine.csv", f"{HEADER}\n{ROWS}")


def test_columns_in_another_order_are_named(tmp_path: Path, mine: str) -> None:
    schema = schema_of(load(mine), mine)
    held_against(schema, mine)
    swapped = written(tmp_path, "swapped.csv", f"age,chol,thalach,num\n{ROWS}")
    with pytest.raises(DataError, match=r"swapped\.csv: column 2 is 'chol' here, 'thalach' in the task"):
        held_against(schema, swapped)


def test_a_column_too_few_or_too_many_or_of_another_name_is_named(tmp_path: Path, mine: str) -> None:
    schema = schema_of(load(mine), mine)
    for header, words in (
        ("age,thalach,cholesterol,num", "no column 'chol', which the task's data has; it has 'cholesterol'"),
        ("age,thalach,chol,num,ward", "column 'ward' is here and not in the task's data"),
    ):
        row = ",".join("1" for _ in header.split(","))
        with pytest.raises(DataError, match=words):
            held_against(schema, written(tmp_path, "other.csv", f"{header}\n{row}\n"))
    with pytest.raises(DataError, match="does not begin with the names of its columns"):
        held_against(schema, written(tmp_path, "bare.csv", ROWS))


def test_no_value_of_the_data_gets_into_the_schema(tmp_path: Path) -> None:
    path = written(tmp_path, "people.csv", "Smith,Leeds\nJones,York\n")
    data = np.genfromtxt(path, delimiter=",", dtype=str)
    text = msgspec.json.encode(schema_of({"people": data, "wards": ["Ward 9"]}, path)).decode()
    assert not any(value in text for value in ("Smith", "Leeds", "Jones", "York", "Ward"))
    assert msgspec.json.decode(text)["parts"] == [{"place": "data['people']", "type": "text", "shape": [2]}]


def test_an_author_may_name_columns_types_and_categories(tmp_path: Path) -> None:
    says = {"age": "number", "sex": ["male", "female"], "num": None}
    schema = declared(Author(says))  # type: ignore[arg-type]
    assert schema is not None
    good = written(tmp_path, "good.csv", "age,sex,num\n63,male,0\n?,,1\n")
    check_file(schema, good)
    for rows, words in (
        ("63,male,0\n41,F,1\n", "line 3: 'sex' is 'F'; the task knows 'female', 'male'"),
        ("63,male,0\nold,male,1\n", "line 3: 'age' is 'old', and in the task a number"),
    ):
        with pytest.raises(DataError, match=words):
            check_file(schema, written(tmp_path, "bad.csv", f"age,sex,num\n{rows}"))


def test_a_set_of_names_leaves_their_order_open(tmp_path: Path) -> None:
    schema = declared(Author({"age", "num"}))  # type: ignore[arg-type]
    assert schema is not None
    check_file(schema, written(tmp_path, "a.csv", "num,ward,age\n0,7,63\n"))
    with pytest.raises(DataError, match="no column 'age'"):
        check_file(schema, written(tmp_path, "b.csv", "num,ward\n0,7\n"))


@pytest.mark.parametrize("said", ["age", [1], {"age": 3}, {"age": []}, [""]])
def test_columns_that_are_no_names_are_refused(said: object) -> None:
    with pytest.raises(TaskError, match="`columns`"):
        declared(Author(said))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (np.zeros((9, 8, 8), np.uint8), "train features are uint8 here, float32 in the task"),
        (np.zeros((9, 8, 9), np.float32), r"shape \(8, 9\) here, \(8, 8\) in the task"),
        (np.full((9, 8, 8), "x"), "train features are text here, float32 in the task"),
        (["a"] * 9, "gives no train features"),
        (np.zeros(9, [("a", float)]), "train features as a table"),
    ],
)
def test_arrays_of_another_shape_or_kind_are_told_apart(theirs: Any, words: str) -> None:
    labels, none = np.zeros(9), np.zeros((0, 8, 8))
    schema = schema_of(((np.zeros((7, 8, 8), np.float32), labels), (none, labels[:0])), "here.npz")
    with pytest.raises(DataError, match=words):
        check_data(schema, ((theirs, labels), (none, labels[:0])), "there.npz")


def test_whole_numbers_and_reals_of_any_width_are_alike() -> None:
    schema = schema_of(np.zeros((3, 2), np.int64), "here.npy")
    for kind in (np.float64, np.float32, np.int32):
        check_data(schema, np.zeros((5, 2), kind), "there.npy")


def test_a_structured_array_names_its_columns_itself() -> None:
    here = np.zeros(3, [("age", float), ("sex", "U6")])
    schema = schema_of(here, "here.npy")
    check_data(schema, np.zeros(5, [("age", int), ("sex", "U9")]), "there.npy")
    with pytest.raises(DataError, match="column 1 is 'sex' here, 'age' in the task"):
        check_data(schema, here[["sex", "age"]], "there.npy")
    with pytest.raises(DataError, match="column 'age' is text here, float64 in the task"):
        check_data(schema, np.zeros(5, [("age", "U3"), ("sex", "U9")]), "there.npy")


def test_a_data_frame_is_held_against_names_types_and_categories(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"age": [63, 41], "sex": ["male", "female"]})
    schema = schema_of(frame, str(tmp_path / "here.parquet"))
    check_data(schema, frame.astype({"age": float}), "there.parquet")
    with pytest.raises(DataError, match="column 1 is 'sex' here, 'age' in the task"):
        check_data(schema, frame[["sex", "age"]], "there.parquet")
    with pytest.raises(DataError, match="column 'age' is text here, int64 in the task"):
        check_data(schema, frame.assign(age=["63", "?"]), "there.parquet")
    says = declared(Author({"age": "number", "sex": ["male", "female"]}))  # type: ignore[arg-type]
    assert says is not None
    with pytest.raises(DataError, match="column 'sex' has 'm'; the task knows 'female', 'male'"):
        check_data(says, frame.assign(sex=["m", None]), "there.parquet")


def test_where_load_gives_a_table_the_order_in_the_file_does_not_matter(tmp_path: Path, mine: str) -> None:
    names = HEADER.split(",")
    table = np.array([(63.0, 150.0, 233.0, 0.0)], [(name, float) for name in names])
    schema = schema_of(table, mine)
    check_file(schema, written(tmp_path, "swapped.csv", f"num,chol,thalach,age\n{ROWS}"))
    check_data(schema, table, str(tmp_path / "swapped.csv"))


def test_what_is_pinned_is_part_of_the_bundle_and_goes_before_what_is_declared(tmp_path: Path, mine: str) -> None:
    (tmp_path / "task.py").write_text("task = None\n")
    bundle, author = make_bundle(tmp_path / "task.py"), Author(["age"])
    schema = schema_of(load(mine), mine)
    assert schema_in(bundle, author) == declared(author)  # type: ignore[arg-type]
    assert schema_in(bundle, Author()) is None  # type: ignore[arg-type]
    assert schema_in(pinned(bundle, schema), author) == schema  # type: ignore[arg-type]
    assert pinned(pinned(bundle, DataSchema()), schema) == pinned(bundle, schema)


@pytest.mark.parametrize(
    ("data", "examples"),
    [
        (((np.zeros((8, 3)), np.zeros(8)), (np.zeros((2, 3)), np.zeros(2))), 10),
        ((({"a": np.zeros(8)}, [0] * 8), ({"a": np.zeros(0)}, [])), 8),
        (np.zeros((7, 2)), 7),
        ((np.zeros((7, 2)), np.zeros(7), "words"), 7),
        ({"x": np.zeros((7, 2)), "y": [0] * 7}, 7),
        (["a text", "another"], 2),
        ((np.zeros(7), np.zeros(3)), None),
        ("words", None),
        (np.zeros(()), None),
    ],
)
def test_examples_are_counted_in_whatever_load_gives(data: object, examples: int | None) -> None:
    assert count_examples(data) == examples


def by_name(path: str) -> Any:
    table = np.genfromtxt(path, delimiter=",", names=True)
    return np.column_stack([table["age"], table["chol"]]), table["num"]


def middle(path: str) -> Any:
    return np.loadtxt(path, delimiter=",", skiprows=1)[:, 1]


@pytest.mark.parametrize(("how", "found"), [(by_name, True), (load, False), (middle, False)])
def test_whether_load_goes_by_the_names_of_columns_is_tried(
    how: Callable[[str], Any], found: bool, tmp_path: Path
) -> None:
    path = written(tmp_path, "mine.csv", "age,num,chol\n63,0,233\n67,1,286\n41,0,204\n")
    assert finds_by_name(how, how(path), Path(path)) is found


def test_a_table_without_names_or_with_one_column_is_never_read_by_name(tmp_path: Path) -> None:
    for text in ("63,0\n67,1\n", "age\n63\n67\n"):
        path = Path(written(tmp_path, "mine.csv", text))
        assert not finds_by_name(lambda path: np.zeros(2), np.zeros(2), path)
