from pathlib import Path

import pytest

from tests.study.fits.published import GOLDEN, cs336
from weather.errors import DataError
from weather.study.results.table import read_table


def write(folder: Path, text: str) -> Path:
    path = folder / "runs.csv"
    path.write_text(text)
    return path


def test_reads_a_table_that_others_wrote() -> None:
    table = read_table(GOLDEN / "cs336_isoflops_curves.csv")
    expected = cs336()
    assert len(table.runs) == 72
    assert table.runs.parameters == pytest.approx(expected.parameters)
    assert table.runs.samples == pytest.approx(expected.samples)
    assert table.remarks == ("cs336_isoflops_curves.csv has no samples: D = C / (6 N) is assumed",)


def test_runs_that_repeat_their_data_are_left_out() -> None:
    table = read_table(GOLDEN / "datablations_c4_NDU.csv")
    assert len(table.runs) == 33
    assert len(table.left_out) == 229 - 33
    assert {reason for _, reason in table.left_out} == {"its data repeat (D > U)"}


def test_failed_and_repeated_rows_are_left_out_with_the_reason(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "name,N,D,C,loss,status,reason,seed\n"
        "a,1e6,1e3,6e9,0.5,complete,,1\n"
        "b,1e6,1e3,6e9,,failed,the loss is not finite,1\n"
        "c,1e6,1e3,6e9,0.5,flops_budget,,1\n"
        "d,1e6,1e3,6e9,0.5,complete,,2\n",
    )
    table = read_table(path)
    assert table.names == ("a", "d")
    assert table.left_out == (("b", "the loss is not finite"), ("c", "the same run as a"))


def test_flops_that_do_not_go_with_n_and_d_are_remarked(tmp_path: Path) -> None:
    rows = "".join(f"r{i},1e6,{i}e3,{6 * i}e9,0.{i}\n" for i in range(1, 6))
    table = read_table(write(tmp_path, "name,N,D,C,loss\n" + rows + "odd,1e6,9e3,9e9,0.4\n"))
    assert len(table.runs) == 6
    assert table.remarks == ("odd: C / (N D) is 0.17 of the other runs'",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no rows"),
        ("N,C,loss\n", "has no rows"),
        ("N,C,los\n1,2,3\n", "has no column for loss"),
        ("N,loss\n1,2\n", "has neither FLOPs nor samples"),
        ("N,C,loss\n1,2,3\n1,2,x\n", "line 3: loss is 'x'"),
        ("N,C,loss\n1,-2,3\n", "line 2: C is '-2'"),
        ("N,C,loss\n1,2\n", "line 2: loss is None"),
        ("N,C,loss,status\n1,2,3,failed\n", "no run was trained to its end"),
        ("N,D,U,loss\n1,4,1,3\n", "the data repeat in every run"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_table(write(tmp_path, text))


def test_a_file_that_is_not_there_and_one_that_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "image.csv").write_bytes(b"\x89PNG\xff\xfe\x00")
    with pytest.raises(DataError, match="is no CSV file"):
        read_table(tmp_path / "image.csv")
