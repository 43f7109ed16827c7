"""Forecasts from forecasts against errors computed by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.archives import WrittenArchive, write_archive
from tests.verification.named import named
from weather.data.archive import Archive, open_archive
from weather.data.loader import Samples
from weather.data.reader import StateReader
from weather.errors import ConfigError
from weather.runtime.ranks import Ranks
from weather.verification.climatology import fit_climatology
from weather.verification.leads import ModelStep, choose_initial_times, initial_samples, parse_leads
from weather.verification.metrics import area_weights
from weather.verification.rollout import Forecast, NamedForecast
from weather.verification.scores import Scores
from weather.verification.skill import verify

LATITUDE = np.array([67.5, 22.5, -22.5, -67.5])
WEIGHTS = area_weights(LATITUDE)[:, None]


def model_of(archive: Archive, *, dt: int = 1, sequence_length: int = 1, output_channels: int = 2) -> ModelStep:
    return ModelStep(archive.splits["test"].step_hours, dt, sequence_length, 2, output_channels)


@pytest.fixture
def written(tmp_path: Path) -> WrittenArchive:
    """Two test files that follow one another without a gap, 11 states in all."""
    return write_archive(tmp_path, files={"train": (9,), "test": (7, 4)}, channels=("a", "b"))


def roll_out(
    written: WrittenArchive, forecast: Forecast, leads: str, *, batch_size: int = 3, threads: int = 1, **model: int
) -> Scores:
    archive = open_archive(written.section(), ("train", "test"))
    knows = model_of(archive, **model)
    steps = knows.steps(parse_leads(leads))
    return verify(
        [named(forecast, archive, knows)],
        archive,
        initial_samples(archive.splits["test"], knows, steps[-1]),
        fit_climatology(archive),
        steps=steps,
        device=torch.device("cpu"),
        ranks=Ranks(),
        batch_size=batch_size,
        threads=threads,
        output_channels=2,
    )


def rmse(forecast: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(((forecast - truth) ** 2 * WEIGHTS).mean(axis=(0, 2, 3))))


@pytest.mark.parametrize("threads", [0, 2])
def test_a_model_that_turns_the_globe_is_as_far_as_its_lead(written: WrittenArchive, threads: int) -> None:
    """A shift by one column a step: after k steps by k columns. All leads start from the same 6 times."""
    scores = roll_out(written, lambda states, _: torch.roll(states[:, -1], 1, dims=-1), "6h,18h,30h", threads=threads)
    states = written.states("test").astype(np.float64)
    assert (scores.lead_hours, scores.samples) == ((6.0, 18.0, 30.0), 6)
    assert not scores.blown_up.any()
    for lead, steps in enumerate((1, 3, 5)):
        truth = states[steps : steps + 6]
        # Normalising and restoring rounds at 1e-7 of the values.
        np.testing.assert_allclose(scores.rmse()[0, lead], rmse(np.roll(states[:6], steps, axis=-1), truth), rtol=1e-5)
        np.testing.assert_allclose(scores.rmse("persistence")[0, lead], rmse(states[:6], truth), rtol=1e-6)


def test_a_model_of_several_states_sees_its_own_forecasts(written: WrittenArchive) -> None:
    """x(t+1) = x(t) / 2 + 3 x(t-1) / 4 - x(t-2) / 4 of standard scores, for three steps; their times go with them."""
    seen: list[np.ndarray] = []

    def forecast(states: torch.Tensor, time: np.ndarray | None) -> torch.Tensor:
        seen.append(time[:, -1] if time is not None else np.array([]))
        return states[:, 2] / 2 + states[:, 1] * 0.75 - states[:, 0] / 4

    scores = roll_out(written, forecast, "18h", sequence_length=3, batch_size=2)
    states = written.states("test").astype(np.float64)
    window = [states[i : i + 6] for i in range(3)]
    for _ in range(3):  # the recurrence is affine with weights that sum to 1, so it holds in physical units too
        window = [window[1], window[2], window[2] / 2 + window[1] * 0.75 - window[0] / 4]
    np.testing.assert_allclose(scores.rmse()[0, 0], rmse(window[2], states[5:11]), rtol=1e-5)
    assert scores.samples == 6
    times = open_archive(written.section(), ("test",)).splits["test"].time
    assert times is not None
    for call, newest in enumerate(seen):  # batches of two initial times, three forecasts in a row
        first = 2 * (call // 3) + 2 + call % 3
        np.testing.assert_array_equal(newest, times[first : first + 2])
    assert len(seen) == 9


def test_forecasts_in_a_row_are_given_the_true_times_of_an_irregular_archive(
    tmp_path: Path,
) -> None:
    """States are 7, 8 and 8 hours apart, and each forecast starts at the time of the state that it stands for."""
    hours = np.cumsum([7.0, 8.0, 8.0] * 4)
    times = {"train": (hours,), "test": (hours + 90_000,)}
    written = write_archive(tmp_path, files=dict.fromkeys(times, (12,)), times=times, channels=("a", "b"))
    seen: list[np.ndarray] = []

    def forecast(states: torch.Tensor, time: np.ndarray | None) -> torch.Tensor:
        assert time is not None
        seen.append(time)
        return states[:, -1]

    for sequence_length in (1, 2):
        seen.clear()
        scores = roll_out(written, forecast, "8h,1d", sequence_length=sequence_length, batch_size=9)
        (remark,) = (each for each in scores.remarks if "spectra" not in each)
        assert remark.startswith("states of the archive are 7 to 8 h apart")
        assert remark.endswith("each as 8 h; 1d is 23 h in the mean")
        true = open_archive(written.section(), ("test",)).splits["test"].time
        assert true is not None
        for call, found in enumerate(seen[:3]):
            for state in range(sequence_length):
                np.testing.assert_array_equal(found[:, state], true[call + state :][: len(found)])


def test_persistence_is_the_model_that_stands_still_at_every_lead(written: WrittenArchive) -> None:
    scores = roll_out(written, lambda states, _: states[:, -1], "12h,1d", dt=2)
    states = written.states("test").astype(np.float64)
    np.testing.assert_allclose(scores.rmse()[0, 1], rmse(states[:7], states[4:]), rtol=1e-5)
    for by_lead in scores.as_dict().values():
        assert list(by_lead) == ["12", "24"]
        for at_lead in by_lead.values():
            assert at_lead["model"] == pytest.approx(at_lead["persistence"], rel=1e-4, abs=1e-5)


def test_a_forecast_that_blows_up_is_null_from_where_it_does(written: WrittenArchive) -> None:
    """One of 8 forecasts overflows float32 in its third step; it counts, and the others' scores do not hide it."""
    bound = torch.from_numpy(np.sort(written.states("test")[:8, 0].max(axis=(1, 2))))[-2:].mean()
    archive = open_archive(written.section(), ("train", "test"))
    bound = (bound - archive.statistics.means[0]) / archive.statistics.stds[0]

    def explode(states: torch.Tensor, time: np.ndarray | None) -> torch.Tensor:
        newest = states[:, -1]
        grows = newest[:, :1].amax(dim=(2, 3), keepdim=True) > bound
        return torch.where(grows, newest.abs() * 1e15 + 1e15, newest)

    verified = roll_out(written, explode, "6h,18h", batch_size=4)
    assert verified.blown_up.tolist() == [[0, 1], [0, 0], [0, 0]]
    scores = verified.as_dict()["a"]
    assert scores["6"]["model"]["rmse"] > 1e10
    assert scores["18"]["model"]["rmse"] is None and scores["18"]["persistence"]["rmse"] is not None
    assert verified.samples == 8


def test_models_go_forward_side_by_side_and_states_are_read_once(
    written: WrittenArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of 6 and of 12 hours, one state and two, other statistics: each by hand; no more is read than for one."""
    archive = open_archive(written.section(), ("train", "test"))
    split, step = archive.splits["test"], ModelStep(6.0, 1, 2, 2, 2)
    samples = initial_samples(split, step, 4)
    scaled = dataclasses.replace(
        archive.statistics, means=archive.statistics.means + 3, stds=archive.statistics.stds * 2
    )
    # A standard deviation more at every step: of its own statistics.
    turned = NamedForecast("turned", lambda states, _: torch.roll(states[:, 0], 5, dims=-1) + 1, scaled, 1, 2)
    # As far from the last state as that is from the one before it; weights sum to 1, so it holds in physical units too.
    line = named(lambda states, _: 2 * states[:, 1] - states[:, 0], archive, step)
    still = named(lambda states, _: states[:, -1], archive, step, "still")
    found, reads = {}, {}
    read = StateReader.read

    def counted(reader: StateReader, states: np.ndarray, out: np.ndarray) -> None:
        reads[len(models)] = reads.get(len(models), 0) + len(states)
        read(reader, states, out)

    climatology = fit_climatology(archive)
    monkeypatch.setattr(StateReader, "read", counted)
    for models in ([line], [line, turned, still]):
        found[len(models)] = verify(
            models, archive, samples, climatology, steps=(2, 4), device=torch.device("cpu"), ranks=Ranks(),
            batch_size=3, threads=0, output_channels=2,
        )  # fmt: skip
    scores, states = found[3], written.states("test").astype(np.float64)
    assert scores.sources == ("model", "persistence", "climatology", "turned", "still")
    assert scores.runs == ("turned", "still") and scores.samples == 6
    assert reads[1] == reads[3] == 6 * (2 + 2)
    last, before = states[1:7], states[:6]
    for lead, steps in enumerate((2, 4)):
        truth = states[1 + steps : 7 + steps]
        by_hand = {
            "model": last + steps * (last - before),
            "turned": np.roll(last, 5 * steps // 2, axis=-1) + steps // 2 * scaled.stds[:, None, None],
            "still": last,
        }
        for source, forecast in by_hand.items():
            # Normalising and restoring rounds at 1e-7 of the values.
            np.testing.assert_allclose(scores.rmse(source)[0, lead], rmse(forecast, truth), rtol=1e-5)
    np.testing.assert_array_equal(scores.squared_error[:3], found[1].squared_error)
    np.testing.assert_array_equal(scores.power[[0, 1, 2, 5]], found[1].power)


def test_the_data_are_not_blamed_for_a_model_that_blows_up(
    written: WrittenArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the first nor another; what is scored beside it keeps its scores."""
    monkeypatch.setattr(Samples, "check_finite", lambda *_: pytest.fail("all states are read again"))
    archive = open_archive(written.section(), ("train", "test"))
    step = model_of(archive)
    still, lost = (lambda states, _: states[:, -1]), (lambda states, _: states[:, -1] + torch.nan)
    for first, second in ((still, lost), (lost, still)):
        scores = verify(
            [named(first, archive, step), named(second, archive, step, "other")], archive,
            initial_samples(archive.splits["test"], step, 1), fit_climatology(archive), device=torch.device("cpu"),
            ranks=Ranks(), batch_size=4, threads=1, output_channels=2,
        )  # fmt: skip
        sound = int(first is lost) * 3
        assert scores.blown_up[:, 0].tolist() == [10 * (first is lost), 0, 0, 10 * (second is lost)]
        np.testing.assert_allclose(scores.squared_error[sound], scores.squared_error[1], rtol=1e-5)
        difference = scores.difference("rmse", "other")
        assert np.isnan(difference.estimate).all() and np.isnan(difference.low).all()
        assert np.isnan(scores.skill("other")).all()


def test_leads_are_refused_with_what_is_possible(written: WrittenArchive) -> None:
    archive = open_archive(written.section(), ("train", "test"))
    with pytest.raises(ConfigError, match="a lead of 15h.*multiple.*nearest: 12h or 18h"):
        model_of(archive).steps(parse_leads("6h,15h"))
    with pytest.raises(ConfigError, match="a lead of 6h.*nearest: 12h"):
        model_of(archive, dt=2).steps(parse_leads("6h"))
    with pytest.raises(ConfigError, match="forecasts 1 of its 2 channels"):
        model_of(archive, output_channels=1).steps(parse_leads("1d"))
    assert model_of(archive, output_channels=1).steps(parse_leads("6h")) == (1,)
    with pytest.raises(ConfigError, match="sees 2 consecutive states and forecasts 2 steps ahead"):
        model_of(archive, dt=2, sequence_length=2).steps(parse_leads("1d"))
    with pytest.raises(ConfigError, match="'3w' is no lead"):
        parse_leads("1d,3w")
    with pytest.raises(ConfigError, match="longest run.* has 11; the longest lead possible is 54h"):
        initial_samples(archive.splits["test"], model_of(archive, sequence_length=2), 10)


def test_initial_times_keep_clear_of_gaps(written: WrittenArchive) -> None:
    split = open_archive(written.section(), ("train", "test")).splits["test"]
    broken = split.consecutive.copy()
    broken[6] = False
    split = dataclasses.replace(split, consecutive=broken)
    assert initial_samples(split, ModelStep(6.0, 1, 1, 2, 2), 3).starts.tolist() == [0, 1, 2, 3, 7]


def test_initial_times_can_be_chosen(written: WrittenArchive) -> None:
    split = open_archive(written.section(), ("train", "test")).splits["test"]
    samples = initial_samples(split, ModelStep(6.0, 1, 2, 2, 2), 1)  # newest inputs from 06 UTC on
    assert split.time is not None
    noon = choose_initial_times(samples, 12.0, None)
    assert noon.starts.tolist() == [1, 3, 5, 7]
    assert {int(hour) % 12 for hour in split.time[noon.starts + 1].astype("datetime64[h]").astype(int)} == {0}
    assert choose_initial_times(samples, None, 3).starts.tolist() == [0, 4, 8]
    assert choose_initial_times(samples, 12.0, 1).starts.tolist() == [1]
    assert choose_initial_times(samples, None, 100).starts.tolist() == samples.starts.tolist()
    with pytest.raises(ConfigError, match="--init_every 7d: none of the 1 initial times"):
        choose_initial_times(dataclasses.replace(samples, starts=samples.starts[:1]), 168.0, None)


def test_only_what_is_wanted_is_verified(tmp_path: Path) -> None:
    """No baseline, two regions, no spectra, an archive without time stamps; the correlation is there all the same."""
    written = write_archive(tmp_path, files={"train": (9,), "test": (7,)}, times={"train": [None], "test": [None]})
    archive = open_archive(written.section(), ("train", "test"))
    model = ModelStep(6.0, 1, 1, 3, 3)
    scores = verify(
        [named(lambda states, _: states[:, -1] / 2, archive, model)],
        archive,
        initial_samples(archive.splits["test"], model, 1),
        fit_climatology(archive),
        device=torch.device("cpu"),
        ranks=Ranks(),
        batch_size=4,
        threads=1,
        output_channels=3,
        baselines=(),
        regions=["northern_extratropics"],
        spectra=False,
    )
    assert (scores.sources, scores.regions) == (("model",), ("global", "northern_extratropics"))
    assert scores.initial_times is None and scores.samples == 6
    assert scores.power.shape == (2, 1, 3, 0) and scores.remarks == ()
    assert np.isfinite(scores.acc()).all() and np.abs(scores.acc()).max() < 1
    assert list(scores.as_dict()["t2m"]["6"]) == ["model"]
