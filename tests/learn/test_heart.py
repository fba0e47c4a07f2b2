import numpy as np
import pytest

import folkmoot as fm
from folkmoot.errors import DataError

LINES = ["63.0,1.0,1.0,145.0,233.0,1.0,2.0,150.0,0.0,2.3,3.0,0.0,6.0,0", "40,0,?,?,0,?,?,?,?,?,?,?,?,3"]


@pytest.fixture
def hospital(tmp_path):
    def write(text):
        path = tmp_path / "processed.test.data"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_the_four_hospitals_have_their_920_patients():
    sizes = {}
    for name, path in fm.hospitals().items():
        (x, y), (x_test, y_test) = fm.load_heart(path)
        assert x.shape == (len(y), 13)
        assert x_test.shape == (len(y_test), 13)
        assert abs(len(y_test) - (len(y) + len(y_test)) / 3) <= 1
        sizes[name] = len(y) + len(y_test)
    assert sizes == {"cleveland": 303, "hungarian": 294, "switzerland": 123, "va": 200}


def test_complete_patients_are_those_of_flamby():
    sizes = [sum(len(y) for _, y in fm.load_heart(path, complete=True)) for path in fm.hospitals().values()]
    assert sizes == [303, 261, 46, 130]


def test_the_held_out_third_depends_on_the_seed_alone_and_keeps_the_classes_in_proportion():
    path = fm.hospitals()["va"]
    (x, y), (_, y_test) = fm.load_heart(path, seed=3)
    again, other = fm.load_heart(path, seed=3), fm.load_heart(path, seed=4)
    assert np.array_equal(x, again[0][0], equal_nan=True)
    assert not np.array_equal(x, other[0][0], equal_nan=True)
    assert abs(y.mean() - y_test.mean()) < 0.02


def test_codes_become_columns_and_question_marks_become_nan(hospital):
    (x, y), (x_test, _) = fm.load_heart(hospital("\n".join(LINES)))
    assert len(x_test) == 0  # A third of one patient a class rounds to none.
    assert y.tolist() == [0, 1]
    expected = [63, 1, 0, 0, 0, 145, 233, 1, 0, 1, 150, 0, 2.3]
    assert x[0].tolist() == expected
    assert np.isnan(x[1]).tolist() == [False, False, True, True, True, True, False, *[True] * 6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{LINES[0]}\n{LINES[0].replace('233.0', '233,0')}", r"line 2: 15 columns where 14 are due"),
        (f"{LINES[0]}\n\n{LINES[0].replace('233.0', 'two')}", r"line 3, column 5 \(chol\): 'two' is not a number"),
        (LINES[0].replace("150.0", "inf"), r"line 1, column 8 \(thalach\): 'inf' is not a number"),
        (LINES[0].replace("150.0", "nan"), r"line 1, column 8 \(thalach\): 'nan'"),
        (LINES[0].replace("150.0", ""), r"line 1, column 8 \(thalach\): ''"),
        (LINES[0][:-1] + "?", r"line 1, column 14 \(num\): '\?'"),
        ("", "holds no patient"),
        (b"\xff\xfe", "is not text: byte 0 is not ASCII"),
    ],
)
def test_a_malformed_file_is_named_with_line_and_column(hospital, text, message):
    path = hospital(text)
    with pytest.raises(DataError, match=message) as caught:
        fm.load_heart(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.data cannot be read: No such file"):
        fm.load_heart(tmp_path / "nowhere.data")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        fm.load_heart(tmp_path)
