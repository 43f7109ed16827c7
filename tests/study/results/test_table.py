import math
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


def test_runs_that_repeat_their_data_are_told_from_the_others() -> None:
    table = read_table(GOLDEN / "datablations_c4_NDU.csv")
    assert len(table.runs) == 229
    assert table.runs.once.sum() == 33


def test_a_few_epochs_may_count_as_new_data() -> None:
    table = read_table(GOLDEN / "datablations_c4_NDU.csv", most_epochs=4)
    epochs = table.runs.samples / table.runs.unique
    assert epochs[~table.runs.once].min() > 4
    assert f"{table.runs.once.sum() - 33} runs of up to 4 epochs count as seeing new data" in table.remarks[-1]


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
    assert table.left_out == (("b", "failed: the loss is not finite"), ("c", "the same run as a"))


def test_what_spoils_a_run_leaves_it_out(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "name,status,reason,role,N,N_non_embedding,D,C,loss,validation_set,schedule\n"
        "a,finished,,run,1e6,8e5,1e3,6e9,0.5,x,wsd\n"
        "b,finished,,branch,1e6,8e5,2e3,12e9,0.4,x,cosine\n"
        "c,finished,its cooldown did not happen,run,1e6,8e5,3e3,18e9,0.9,x,wsd\n"
        "d,finished,,trunk,1e6,8e5,4e3,24e9,0.8,x,constant\n"
        "e,finished,,run,1e6,8e5,4e3,24e9,0.3,y,wsd\n"
        "f,finished,,run,1e6,8e5,4e3,24e9,nan,x,wsd\n"
        "g,ready,,run,,,,,,,\n",
    )
    table = read_table(path, parameters="non_embedding")
    assert table.names == ("a", "b")
    assert list(table.runs.parameters) == [8e5, 8e5]
    assert dict(table.left_out) == {
        "c": "its cooldown did not happen",
        "d": "a trunk: its learning rate does not cool down",
        "e": "validated on another set (y) than most runs (x)",
        "f": "it diverged: its loss is nan",
        "g": "ready",
    }
    assert table.remarks == (
        "runs differ in their schedule: 1 wsd (a ...), 1 cosine (b ...); a law takes them for the same",
    )
    with pytest.raises(DataError, match="has no column for parameters"):
        read_table(write(tmp_path, "N,C,loss\n1,2,3\n"), parameters="non_embedding")


def test_runs_of_different_seeds_are_repeats_and_copies_are_not(tmp_path: Path) -> None:
    """Points are told apart by their learning rate; without a seed column, rows at one N and D are repeats."""
    path = write(
        tmp_path,
        "name,N,D,loss,seed,learning_rate\n"
        "a,1e6,1e3,0.50,1,0.1\nb,1e6,1e3,0.51,2,0.1\nc,1e6,1e3,0.60,3,0.2\nd,1e6,1e3,0.50,1,0.1\n",
    )
    table = read_table(path)
    assert table.seed_noise is not None and (table.seed_noise.runs, table.seed_noise.points) == (2, 1)
    assert table.seed_noise.deviation == pytest.approx(math.log(0.51 / 0.50) / math.sqrt(2))
    assert table.without(["b"]).seed_noise is None
    assert table.without(["b"]).left_out[-1] == ("b", "held back")
    unseeded = read_table(write(tmp_path, "N,D,loss\n1e6,1e3,0.50\n1e6,1e3,0.51\n"))
    assert unseeded.seed_noise is not None and unseeded.seed_noise.runs == 2


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


def test_small_models_may_cost_more_for_their_size(tmp_path: Path) -> None:
    """k = C / (N D) falls by a third with each doubling of N; one run of a size has half of what its size has."""
    sizes = [(n, 9e3 * (n / 1e6) ** -0.58) for n in (1e6, 2e6, 4e6, 8e6, 16e6)]
    rows = "".join(f"n{n:g}-{d},{n},{d},{k * n * d},0.3{d}\n" for n, k in sizes for d in (1000, 2000))
    table = read_table(
        write(tmp_path, "name,N,D,C,loss\n" + rows + f"odd,4e6,3e3,{4.5e3 * 4**-0.58 * 4e6 * 3e3},0.4\n")
    )
    assert table.remarks == ("odd: C / (N D) is 0.50 of the other runs'",)
