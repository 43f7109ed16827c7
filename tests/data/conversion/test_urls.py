"""Zarr stores by URL: from servers on this machine that are slow, fail now and then, refuse, or go away."""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.conversion.server import serving
from tests.data.conversion.sources import SPLIT, expected, field, run, states, times, xarray
from weather.data.conversion import blocks, patience
from weather.data.conversion.remote import identify_url
from weather.errors import ConfigError, DataError

zarr = pytest.importorskip("zarr", minversion="3.0", reason="zarr 3 is not installed")
pytest.importorskip("aiohttp", reason="aiohttp is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part")
TIME = times(20)
LEVELS = [500.0, 700.0, 850.0]
ROOT = Path(__file__).resolve().parents[3]
SMALL_BLOCK = 4 * 2 * 7 * 12 * 2  # two states
WANTED = (*SPLIT, "--variables", "t2m", "t", "--levels", "850", "500")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PAUSES", (0.01, 0.02, 0.04))
    monkeypatch.setattr(patience, "FIRST_PAUSES", (0.01,))


def store(path: Path, version: int = 2, *, consolidated: bool = True) -> Path:
    """A store as WeatherBench 2 has them, with a chunk for each time and level."""
    fields = {"2m_temperature": field(TIME), "temperature": field(TIME, levels=LEVELS)}
    chunks = {"2m_temperature": {"chunks": (1, 7, 12)}, "temperature": {"chunks": (1, 1, 7, 12)}}
    xarray.Dataset(fields).to_zarr(path, zarr_format=version, consolidated=consolidated, encoding=chunks)
    return path


def check(archive: Path) -> None:
    found, at = states(archive)
    np.testing.assert_array_equal(at, TIME.astype("datetime64[s]"))
    np.testing.assert_array_equal(found[:, 0], expected(TIME))
    np.testing.assert_array_equal(found[:, 1:], expected(TIME, levels=[850.0, 500.0]))


@pytest.mark.parametrize(("version", "consolidated"), [(2, True), (3, True), (2, False), (3, False)])
def test_only_the_chunks_that_are_wanted_are_asked_for(
    tmp_path: Path, version: int, consolidated: bool, caplog: pytest.LogCaptureFixture
) -> None:
    store(tmp_path / "s/era5.zarr", version, consolidated=consolidated)
    with serving(tmp_path / "s", lists=not consolidated) as server:
        url = f"{server.url}/era5.zarr"
        run(f"{url}/", tmp_path / "out", *WANTED)
        chunk = re.compile(r"era5.zarr/(2m_)?temperature/(c/)?\d+")
        chunks = [path for path in server.asked if chunk.match(path)]
        assert len(chunks) == len(set(chunks)) == 20 * 3
        count = len(server.asked)
        assert "nothing to do" in run(url, tmp_path / "out", *WANTED).text
        assert not any(chunk.match(path) for path in server.asked[count:])
    gc.collect()
    assert "Unclosed" not in caplog.text
    check(tmp_path / "out")
    said = json.loads((tmp_path / "out/provenance.json").read_text())["sources"]
    assert [sorted(each) for each in said] == [["fingerprint", "kind", "path"]] and said[0]["path"] == url


@pytest.mark.parametrize(("scheme", "package", "variable"), [
    ("gs", "gcsfs", "STORAGE_EMULATOR_HOST"), ("s3", "s3fs", "AWS_ENDPOINT_URL")
])  # fmt: skip
def test_buckets_are_read_without_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, package: str, variable: str
) -> None:
    pytest.importorskip(package, reason=f"{package} is not installed")
    store(tmp_path / "s/bucket/era5.zarr")
    with serving(tmp_path / "s") as server:
        monkeypatch.setenv(variable, server.url)
        run(f"{scheme}://bucket/era5.zarr", tmp_path / "out", *WANTED)
        with pytest.raises(DataError, match=f"{scheme}://bucket/none.zarr: no Zarr store is there"):
            run(f"{scheme}://bucket/none.zarr", tmp_path / "other", *WANTED)
    check(tmp_path / "out")


def test_another_date_in_the_group_is_the_same_store_and_other_units_are_not(tmp_path: Path) -> None:
    metadata = store(tmp_path / "s/era5.zarr") / ".zmetadata"
    with serving(tmp_path / "s") as server:
        run(f"{server.url}/era5.zarr", tmp_path / "out", *WANTED)
        text = json.loads(metadata.read_text())
        text["metadata"][".zattrs"]["last_updated"] = "today"
        metadata.write_text(json.dumps(text))
        assert "nothing to do" in run(f"{server.url}/era5.zarr", tmp_path / "out", *WANTED).text
        text["metadata"]["temperature/.zattrs"]["units"] = "degC"
        metadata.write_text(json.dumps(text))
        with pytest.raises(DataError, match="a source that has changed: http"):
            run(f"{server.url}/era5.zarr", tmp_path / "out", *WANTED)


def test_the_attributes_of_a_group_of_zarr_3_are_no_part_of_what_tells_stores_apart(tmp_path: Path) -> None:
    metadata = store(tmp_path / "s/era5.zarr", 3, consolidated=False) / "zarr.json"
    with serving(tmp_path / "s", lists=True) as server:
        before = identify_url(f"{server.url}/era5.zarr")
        metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "attributes": {"last_updated": "today"}}))
        assert identify_url(f"{server.url}/era5.zarr") == before


def test_a_shard_is_read_in_parts_or_not_at_all(tmp_path: Path) -> None:
    shards = {"t2m": {"chunks": (1, 7, 12), "shards": (20, 7, 12)}}
    xarray.Dataset({"t2m": field(TIME)}).to_zarr(tmp_path / "s/a.zarr", zarr_format=3, encoding=shards)
    with serving(tmp_path / "s") as server:
        run(f"{server.url}/a.zarr", tmp_path / "out", *SPLIT)
        server.heeds_range = False
        with pytest.raises(DataError, match="t2m/c/0/0/0: the server gives all of a file where a part was asked for"):
            run(f"{server.url}/a.zarr", tmp_path / "other", *SPLIT)
    np.testing.assert_array_equal(states(tmp_path / "out")[0][:, 0], expected(TIME))


def test_a_group_is_told_of(tmp_path: Path) -> None:
    store(tmp_path / "s/all.zarr/deep")
    zarr.consolidate_metadata(zarr.open_group(tmp_path / "s/all.zarr", zarr_format=2).store)
    with (
        serving(tmp_path / "s") as server,
        pytest.raises(DataError, match=rf"it has groups \(deep\).*name {server.url}/all.zarr/deep"),
    ):
        run(f"{server.url}/all.zarr", tmp_path / "out", *SPLIT)


def test_failures_that_pass_are_not_seen(tmp_path: Path) -> None:
    """Each path fails every second time, in one of four ways, folders too."""
    store(tmp_path / "s/era5.zarr", consolidated=False)
    ways = (503, 429, 500, 0)
    with serving(tmp_path / "s", lambda path, before: 200 if before % 2 else ways[len(path) % 4], lists=True) as server:
        run(f"{server.url}/era5.zarr", tmp_path / "out", *WANTED)
    check(tmp_path / "out")


def test_a_server_that_stays_silent_is_given_up_and_then_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path / "s/era5.zarr")
    monkeypatch.setattr(patience, "QUIET_SECONDS", 0.2)
    monkeypatch.setattr(patience, "PAUSES", (0.01,))

    def mood(path: str, before: int) -> int:
        time.sleep(0.5 * path.endswith("temperature/9.0.0.0"))
        return 200

    with serving(tmp_path / "s", mood) as server:
        url = f"{server.url}/era5.zarr"
        with pytest.raises(DataError, match=r"temperature/9.0.0.0: no answer in 2 tries .*the same command goes on"):
            run(url, tmp_path / "out", *WANTED)
        server.mood = lambda path, before: 200
        run(url, tmp_path / "out", *WANTED)
    check(tmp_path / "out")


def test_a_server_that_is_gone_is_told_of(tmp_path: Path) -> None:
    store(tmp_path / "s/era5.zarr")
    with serving(tmp_path / "s") as server:
        port = server.server_port
        server.mood = lambda path, before: 503 if "temperature/1" in path else 200
        with pytest.raises(DataError, match=r"no answer in 4 tries .*503.*the same command goes on"):
            run(f"{server.url}/era5.zarr", tmp_path / "out", *WANTED)
    with pytest.raises(DataError, match=r"no answer in 2 tries .*Cannot connect.*check the address"):
        run(f"http://127.0.0.1:{port}/era5.zarr", tmp_path / "out", *WANTED)
    with serving(tmp_path / "s", port=port) as server:
        run(f"{server.url}/era5.zarr", tmp_path / "out", *WANTED)
    check(tmp_path / "out")


@pytest.mark.parametrize(("path", "status", "match"), [
    ("nothing.zarr", 404, "no Zarr store is there; one of .zmetadata, zarr.json"),
    ("era5.zarr", 403, r"era5.zarr: permission is refused \(.*403.*check the URL; put user and password"),
    ("era5.zarr/temperature/0.0.0.0", 401, "era5.zarr/temperature/0.0.0.0: permission is refused"),
    ("era5.zarr/temperature/0.0.0.0", 400, r"variable 'temperature': states 0 to \d+ cannot be read .*400"),
])  # fmt: skip
def test_what_will_not_pass_is_not_asked_for_again(tmp_path: Path, path: str, status: int, match: str) -> None:
    store(tmp_path / "s/era5.zarr")
    with serving(tmp_path / "s", lambda asked, before: status if asked.startswith(path) else 200) as server:
        with pytest.raises(DataError, match=match):
            run(f"{server.url}/{'nothing' if 'nothing' in path else 'era5'}.zarr", tmp_path / "out", *WANTED)
        asked = [each for each in server.asked if each.startswith(path)]
        assert asked and len(asked) == len(set(asked))
    assert not (tmp_path / "out/train/2001.h5").exists()


@pytest.mark.parametrize(("url", "match"), [
    ("gs://bucket/era5/1979.nc", "files are not read by URL.*fetch it first: gcloud storage cp gs://bucket/era5/1979.nc"),
    ("https://host/a.grib2", "curl -O https://host/a.grib2"),
    ("s3://bucket/a.grb", "aws s3 cp s3://bucket/a.grb"),
    ("abfs://container/a.zarr", "'abfs' is not a kind of URL that is read; a path, or a Zarr store at gs://"),
    ("https://me:secret@host/a.zarr", r"//\.\.\.@host/a.zarr: a URL with a user or a password"),
    ("https://host/a.zarr?key=secret", r"a URL with \?, # or \*"),
    ("gs://bucket/*.zarr", r"a URL with \?, # or \*"),
])  # fmt: skip
def test_what_is_no_store_is_refused_before_any_request(tmp_path: Path, url: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match) as said:
        run(url, tmp_path / "out", *SPLIT)
    assert "secret" not in str(said.value) or "?" in url


def test_an_archive_is_not_written_to_a_url(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="OUT is a URL.*an archive is a folder"):
        run(store(tmp_path / "era5.zarr"), "gs://bucket/out", *SPLIT)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(
        ConfigError, match=r"gs://bucket/a.zarr: the package gcsfs cannot be imported.*pip install gcsfs"
    ):
        run("gs://bucket/a.zarr", tmp_path / "out", *SPLIT)


def test_a_store_that_cannot_be_listed_has_to_be_consolidated(tmp_path: Path) -> None:
    store(tmp_path / "s/era5.zarr", consolidated=False)
    with (
        serving(tmp_path / "s") as server,
        pytest.raises(DataError, match="not consolidated, and the server does not list its folders"),
    ):
        run(f"{server.url}/era5.zarr", tmp_path / "out", *WANTED)


def test_requests_are_made_side_by_side(tmp_path: Path) -> None:
    store(tmp_path / "s/era5.zarr")
    with serving(tmp_path / "s", delay=0.05) as server:
        run(f"{server.url}/era5.zarr", tmp_path / "out", *WANTED)
        assert 8 < server.most_at_once <= 2 * 32  # two threads, each with its block


def test_a_dry_run_reads_one_block_and_writes_nothing(tmp_path: Path) -> None:
    store(tmp_path / "s/era5.zarr")
    with serving(tmp_path / "s") as server:
        text = run(f"{server.url}/era5.zarr", tmp_path / "out", *WANTED, "--dry-run").text
    assert "t2m [K], t850 [K], t500 [K]" in text and "20 states" in text
    assert not (tmp_path / "out").exists()


def test_killed_without_warning_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(tmp_path / "s/era5.zarr")
    words = [sys.executable, "-c", (
        "from weather.data.conversion import blocks, writing\n"
        f"blocks.USUAL_BLOCK = {SMALL_BLOCK}; writing.COMMIT_BYTES = 1\n"
        "from weather.convert import main; main()"
    )]  # fmt: skip
    journal = tmp_path / "out/conversion.partial/train-2001.jsonl"
    with serving(tmp_path / "s", delay=0.05) as server:
        command = [*words, f"{server.url}/era5.zarr", str(tmp_path / "out"), *WANTED]
        process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            if journal.exists() and len(journal.read_text().splitlines()) > 4:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        _, said = process.communicate(timeout=60)
        assert process.returncode == -9, said
        before = len(server.asked)
        server.delay = 0.0
        monkeypatch.setattr(blocks, "USUAL_BLOCK", SMALL_BLOCK)
        run(f"{server.url}/era5.zarr", tmp_path / "out", *WANTED)
        again = [path for path in server.asked[before:] if path in server.asked[:before] and "temperature/" in path]
    assert len(again) <= 16  # of blocks that were under way, or not yet in the journal
    check(tmp_path / "out")


def a_broken_store(path: Path, version: int, fill: Any) -> Path:
    """The fourth chunk of the first variable is lost."""
    store(path, version, consolidated=False)
    metadata = path / "2m_temperature" / (".zarray" if version == 2 else "zarr.json")
    metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "fill_value": fill}))
    lost = path / "2m_temperature" / ("3.0.0" if version == 2 else "c/3")
    shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
    return path


def test_a_lost_chunk_is_what_it_is_in_a_folder(tmp_path: Path) -> None:
    a_broken_store(tmp_path / "s/undefined.zarr", 2, None)
    a_broken_store(tmp_path / "s/missing.zarr", 2, "NaN")
    with serving(tmp_path / "s", lists=True) as server:
        with pytest.raises(DataError, match=r"2m_temperature/3.0.0: this chunk is not in the store; no writer"):
            run(f"{server.url}/undefined.zarr", tmp_path / "a", *WANTED)
        with pytest.raises(DataError, match=r"2001-01-01T18:00:00: 84 of 84 values are missing"):
            run(f"{server.url}/missing.zarr", tmp_path / "b", *WANTED)
        a_broken_store(tmp_path / "s/zero.zarr", 3, 0.0)
        text = run(f"{server.url}/zero.zarr", tmp_path / "c", *WANTED).text
    assert "'2m_temperature': chunks that are not in the store are read as its fill value, 0, and not counted" in text
    assert not states(tmp_path / "c")[0][3, 0].any()
