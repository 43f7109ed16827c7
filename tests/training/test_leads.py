"""Random leads, the unit of a tendency, and what is refused about them, on a tiny archive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tests.archives import WrittenArchive
from weather.config.wrapper import ConfigWrapper
from weather.data.reader import StateReader
from weather.data.statistics import write_record
from weather.data.statistics_collection import collect
from weather.errors import ConfigError, DataError
from weather.model.transformer import WeatherTransformer
from weather.runtime.device import choose_device
from weather.runtime.ranks import Ranks
from weather.strategies import find_strategy
from weather.training.assembly import assemble
from weather.training.forecast_step import ForecastStep
from weather.training.leads import chosen_lead, draw_leads, validated_leads
from weather.training.loss import weighted_mean_squared_error
from weather.training.preparation import Prepared, prepare
from weather.training.rollout import roll_out
from weather.verification.metrics import area_weights

MakeArchive = Callable[..., WrittenArchive]
MODEL = {"embed_dim": 8, "num_layers": 1, "num_heads": 2, "patch_size": 2, "predict": "tendency"}
CPU = torch.device("cpu")


@pytest.fixture
def prepared_with(make_archive: MakeArchive) -> Callable[..., Prepared]:
    written = make_archive(files={"train": (20, 14), "valid": (9,), "test": (6,)})
    write_record(written.folder, collect(written.folder, leads=(1, 2)))

    def prepared(**settings: Any) -> Prepared:
        return prepare(ConfigWrapper({**MODEL, "data_dir": str(written.folder), "batch_size": 6, **settings}))

    return prepared


def test_draws_are_a_function_of_seed_and_step(prepared_with: Callable[..., Prepared]) -> None:
    config = prepared_with(random_leads=[2, 1], warmup_steps=0).config
    drawn = np.array([draw_leads(config, step) for step in range(300)])
    assert set(drawn.ravel()) == {1, 2}
    assert abs((drawn == 1).mean() - 0.5) < 0.05  # 1800 even draws: 4 standard deviations
    np.testing.assert_array_equal(draw_leads(config, 7), drawn[7])
    assert (np.array(draw_leads(config.replace({"seed": 1}), 7)) != drawn[7]).any() or (drawn[8] != drawn[7]).any()
    assert draw_leads(prepared_with().config, 7) is None


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_what_one_process_reads(prepared_with: Callable[..., Prepared], world_size: int) -> None:
    prepared = prepared_with(random_leads=[1, 2], rollout_schedule={0: 1, 2: 2}, max_steps=4)
    alone = list(prepared.order(0, rank=0, world_size=1, micro_batch_size=6))
    together = [list(prepared.order(0, rank=r, world_size=world_size, micro_batch_size=1)) for r in range(world_size)]
    assert [batch.forecasts for batch in alone] == [1, 1, 2, 2]
    for step, batch in enumerate(alone):
        micros = 6 // world_size
        pieces = [rank[step * micros + micro] for micro in range(micros) for rank in together]
        assert [piece.positions[0] for piece in pieces] == batch.positions.tolist()
        assert [piece.leads[0] for piece in pieces if piece.leads is not None] == batch.leads.tolist()  # type: ignore[union-attr]
        assert {piece.forecasts for piece in pieces} == {batch.forecasts}


def test_samples_have_truth_at_the_longest_rollout(prepared_with: Callable[..., Prepared]) -> None:
    """34 states without a gap: two forecasts of two steps reach 4 ahead."""
    assert len(prepared_with().training) == 33
    prepared = prepared_with(random_leads=[1, 2], rollout_schedule={100: 2})
    assert len(prepared.training) == 30
    assert len(prepared.validation) == 8, "one forecast over dt, so that losses can be compared"
    assert prepared.validation_rollout is not None and len(prepared.validation_rollout) == 7
    assert prepared.training.states(29, forecasts=2, lead=2).tolist() == [29, 31, 33]


def test_the_loss_is_the_mean_over_forecasts_in_the_unit_of_their_lead(prepared_with: Callable[..., Prepared]) -> None:
    """By hand, with a stand-in for the model: the tendency that it gives is 0.5 in its unit, plus the lead in days."""
    prepared = prepared_with(random_leads=[1, 2], tendency_scale="difference")
    statistics, leads = prepared.archive.statistics, np.array([2, 1, 2])
    step = ForecastStep(prepared.config, prepared.archive, CPU)
    fields = torch.randn(3, 1 + 2, 3, 4, 8, generator=torch.Generator().manual_seed(0))

    class Model(torch.nn.Module):
        def forward(self, states: torch.Tensor, hours: torch.Tensor, recompute: bool) -> torch.Tensor:
            return torch.full_like(states[:, -1], 0.5) + hours[:, None, None, None] / 24

    made = list(roll_out(step, Model(), fields, None, torch.ones(3, 4, 1), leads=leads))
    unit = torch.stack([torch.from_numpy(statistics.differences[lead] / statistics.stds) for lead in leads])
    tendency = (0.5 + torch.from_numpy(leads) / 4)[:, None, None, None]
    state = fields[:, 0]
    for number, (forecast, target, loss) in enumerate(made, start=1):
        state = state + unit[:, :, None, None] * tendency
        torch.testing.assert_close(forecast, state.float())
        assert torch.equal(target, fields[:, number])
        expected = ((state - target) / unit[:, :, None, None]).square().mean()
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)  # float32


def test_gradients_go_back_through_all_forecasts(prepared_with: Callable[..., Prepared]) -> None:
    """Recomputed or not, they are those of the forecasts written out one after the other."""
    prepared = prepared_with(rollout_schedule={0: 3})
    torch.manual_seed(0)
    model = WeatherTransformer(prepared.config.model)
    torch.nn.init.normal_(model.head.weight, std=0.1)
    fields, weights = torch.randn(2, 4, 3, 4, 8), torch.ones(3, 4, 1)
    step = ForecastStep(prepared.config, prepared.archive, CPU)

    def gradients(loss: torch.Tensor) -> list[torch.Tensor]:
        model.zero_grad()
        loss.backward()
        return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]

    one = model(fields[:, :1])
    two = model(one[:, None])
    three = model(two[:, None])
    losses = [weighted_mean_squared_error(f, fields[:, n], weights) for n, f in enumerate((one, two, three), start=1)]
    expected = gradients(torch.stack(losses).mean())
    for recompute in (False, True):
        made = [loss for *_, loss in roll_out(step, model, fields, None, weights, recompute=recompute)]
        for found, wanted in zip(gradients(torch.stack(made).mean()), expected, strict=True):
            assert torch.equal(found, wanted)


def test_what_cannot_be_rolled_out_is_refused(prepared_with: Callable[..., Prepared]) -> None:
    rollouts = {"rollout_schedule": {0: 1, 5: 2}}
    with pytest.raises(ConfigError, match="training.rollout_schedule: the model forecasts 2 of its 3 channels"):
        prepared_with(output_channels=2, **rollouts)
    with pytest.raises(ConfigError, match="sees 2 consecutive states and forecasts 2 steps ahead"):
        prepared_with(sequence_length=2, random_leads=[1, 2], **rollouts)
    prepared_with(sequence_length=2, random_leads=[1, 2])
    prepared_with(sequence_length=2, **rollouts)
    with pytest.raises(ConfigError, match="names dt 1"):
        prepared_with(random_leads=[2, 4])
    with pytest.raises(DataError, match="no statistics of differences at a lead of 4"):
        prepared_with(random_leads=[1, 4], tendency_scale="difference")
    with pytest.raises(ConfigError, match="unit of a tendency"):
        prepared_with(predict="state", tendency_scale="difference")


def test_a_trained_lead_may_be_chosen(prepared_with: Callable[..., Prepared]) -> None:
    config = prepared_with(random_leads=[1, 2]).config
    assert [chosen_lead(config, 6.0, hours) for hours in (None, 6.0, 12.0)] == [1, 1, 2]
    with pytest.raises(ConfigError, match="--step 18h; the model was trained to forecast 6h, 12h at once"):
        chosen_lead(config, 6.0, 18.0)


def test_each_lead_is_validated_on_its_share(prepared_with: Callable[..., Prepared]) -> None:
    """9 validation states: 8 samples over one step, of which 7 have truth 2 steps ahead, 5 four, and none nine."""
    run = prepared_with(random_leads=[1, 2, 4, 9])
    leads = validated_leads(run.config, run.validation)
    assert {lead: positions.size for lead, positions in leads.items()} == {2: 2, 4: 2}, "a third of 7 and of 5, rounded"
    assert all((positions + lead < 9).all() for lead, positions in leads.items())
    assert validated_leads(prepared_with().config, prepared_with().validation) == {}


def test_the_loss_of_each_lead_is_that_of_its_samples(prepared_with: Callable[..., Prepared]) -> None:
    """By hand, with a model that forecasts persistence; on two ranks it would be the same sums."""
    run = prepared_with(random_leads=[1, 2], tendency_scale="difference")
    strategy = find_strategy("single")(run.config, choose_device("cpu", "fp32", Ranks()), Ranks())
    parts = assemble(run, strategy, None)  # a tendency begins at 0
    scores = parts.validator.run()
    truth = parts.normalizer.normalize(torch.from_numpy(written_states(run)))
    assert list(scores["leads"]) == ["6", "12"]
    for lead, found in zip((1, 2), scores["leads"].values(), strict=True):
        positions = np.arange(8) if lead == 1 else validated_leads(run.config, run.validation)[2]
        errors = truth[positions + lead] - truth[positions]
        unit = torch.from_numpy(run.archive.statistics.differences[lead] / run.archive.statistics.stds)[:, None, None]
        assert found["samples"] == positions.size
        assert found["loss"] == pytest.approx(float(((errors / unit).square() * parts.weights).mean()), rel=1e-5)
        area = torch.from_numpy(area_weights(run.archive.latitude))[:, None]
        assert found["rmse"] == pytest.approx(float((errors.square() * area).mean().sqrt()), rel=1e-5)
    losses = [found["loss"] for found in scores["leads"].values()]
    assert scores["leads_loss"] == pytest.approx(np.mean(losses), rel=1e-6) and scores["loss"] == losses[0]
    parts.close()


def written_states(run: Prepared) -> np.ndarray:
    """All states [time, channel, lat, lon] of the validation split."""
    split = run.validation.split
    fields = np.empty((split.states, len(run.archive.channels), *run.archive.grid), np.float32)
    reader = StateReader(split, run.archive.channel_indices)
    reader.read(np.arange(split.states), fields)
    reader.close()
    return fields
