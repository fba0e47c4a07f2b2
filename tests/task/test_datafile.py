"""How many records a file has, and what it calls its columns, without any task's code."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from folkmoot.errors import DataError
from folkmoot.learn.heart import hospitals
from folkmoot.task.datafile import header_of, records_in


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("patients", [100, 1_000, 10_000])
def test_an_archive_of_arrays_has_as_many_records_as_its_arrays_have_rows(tmp_path: Path, patients: int) -> None:
    path = tmp_path / "scans.npz"
    np.savez(path, x=np.random.default_rng(0).normal(size=(patients, 5)), y=np.zeros(patients), unit=np.array("mmHg"))
    assert records_in(path) == patients


def test_an_array_has_as_many_records_as_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "scans.npy", np.full((30, 2), 10, np.uint8))
    assert records_in(tmp_path / "scans.npy") == 30


def test_line_breaks_in_quotes_belong_to_their_record(tmp_path: Path) -> None:
    text = 'age,notes\n63,"came late\nleft early\n"\n41,"well,\r\nso far"\n\n'
    assert records_in(written(tmp_path / "notes.csv", text)) == 2


@given(st.lists(st.tuples(st.integers(0, 99), st.text(st.sampled_from('a\n\r",;x ')), st.booleans()), min_size=1))
def test_whatever_stands_in_its_cells_a_table_has_as_many_records_as_were_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str, bool]]
) -> None:
    import csv

    path = tmp_path_factory.mktemp("tables") / "rows.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("age", "notes", "well"), *rows])
    assert records_in(path) == len(rows)


def test_tables_without_a_header_and_lines_of_json_are_counted_too(tmp_path: Path) -> None:
    assert records_in(hospitals()["cleveland"]) == 303
    assert records_in(written(tmp_path / "a.tsv", "63\t?\n41\t2\n")) == 2
    assert records_in(written(tmp_path / "a.jsonl", '{"age": 63}\n\n{"age": 41}\n')) == 2


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.sqlite", b"SQLite format 3", "records of a .sqlite file cannot be counted"),
        ("a.csv", b"1,2\n3,4,5\n", "line 2: 3 cells where the first row has 2"),
        ("a.csv", b"\x00\x01\x02", "is no text"),
        ("a.npz", b"PK but no archive", "is no NumPy archive"),
        ("a.npy", b"1,2\n3,4\n", "is no file of NumPy's"),
    ],
)
def test_where_a_file_does_not_say_its_records_a_person_is_asked(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words) as asked:
        records_in(tmp_path / name)
    assert "--records N" in str(asked.value)


def test_arrays_of_unlike_length_and_folders_are_asked_about(tmp_path: Path) -> None:
    np.savez(tmp_path / "split.npz", train=np.zeros(80), test=np.zeros(20))
    with pytest.raises(DataError, match=r"train 80, test 20.*--records N"):
        records_in(tmp_path / "split.npz")
    with pytest.raises(DataError, match=r"is a folder.*--records N"):
        records_in(tmp_path)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("age,sex\n63,male\n", ("age", "sex")),
        ("\ufeffage;chol\n63;?\n41;2,5\n", ("age", "chol")),
        ("63,male\n41,female\n", ()),
        ("Smith,male\nJones,female\n", ()),  # nothing but words: names of people as likely as of columns
        ("?,male\n63,male\n", ()),
        ("age,age\n63,41\n", ()),
        ("age,sex\n", ()),
        ("", ()),
    ],
)
def test_the_first_row_names_the_columns_only_where_it_cannot_be_a_patient(
    tmp_path: Path, text: str, names: tuple[str, ...]
) -> None:
    assert header_of(written(tmp_path / "a.csv", text)) == names
