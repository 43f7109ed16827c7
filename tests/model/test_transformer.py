"""The forecast: its size, what it depends on, where it starts, what is random in it and when."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.model.tiny import lively_model, random_states, tiny_model, tiny_section
from weather.model.layers import SpacePositions, StochasticDepth
from weather.model.transformer import WeatherTransformer, resample, token_grid
from weather.runtime.seeds import seed_weights

# Grids with a patch that divides them, one that does not divide rows, columns or both, and the two worst cases of
# rounding: 26 = 1.44 patches of 18 and 44 = 2.44 patches of 18 are shrunk the most.
GRIDS = [
    ((8, 16), 4),
    ((9, 16), 4),
    ((8, 18), 4),
    ((7, 13), 3),
    ((5, 5), 5),
    ((26, 44), 18),
    ((12, 24), 1),
]


@pytest.mark.parametrize(("grid", "patch"), [*GRIDS, ((721, 1440), 72)])
def test_forecast_has_the_grid_of_the_input(grid: tuple[int, int], patch: int) -> None:
    model = tiny_model(img_size=grid, patch_size=patch, input_channels=1, embed_dim=8)
    with torch.no_grad():
        assert model(torch.zeros(1, 1, 1, *grid)).shape == (1, 1, *grid)


@pytest.mark.parametrize(("grid", "patch"), GRIDS)
def test_every_grid_point_influences_the_forecast(grid: tuple[int, int], patch: int) -> None:
    model = lively_model(img_size=grid, patch_size=patch, input_channels=1)
    states = random_states(tiny_section(img_size=grid, input_channels=1), batch=1).requires_grad_()
    (model(states) * torch.randn(grid, generator=torch.Generator().manual_seed(2))).sum().backward()
    assert states.grad is not None
    assert states.grad.abs().amin() > 0


def test_first_and_last_of_721_rows_influence_the_forecast() -> None:
    grid = (721, 144)
    model = lively_model(img_size=grid, patch_size=72, input_channels=1, num_layers=1)
    states = torch.zeros(1, 1, 1, *grid, requires_grad=True)
    forecast = model(states)
    (forecast * torch.randn(grid, generator=torch.Generator().manual_seed(2))).sum().backward()
    assert states.grad is not None
    assert forecast.shape[-2:] == grid
    assert states.grad.abs().amin() > 0


def test_token_grid_is_that_of_the_nearest_grid_that_the_patch_divides() -> None:
    assert token_grid((721, 1440), 8) == (90, 180)
    assert token_grid((48, 96), 8) == (6, 12)
    assert token_grid((181, 360), 8) == (23, 45)
    assert token_grid((5, 5), 5) == (1, 1)


# --- resampling ---


def interpolated(fields: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Bilinear between cell centres in NumPy: latitude is held at the ends, longitude goes round."""
    rows, columns = fields.shape[-2:]
    at_rows = (np.arange(grid[0]) + 0.5) * rows / grid[0] - 0.5
    at_columns = (np.arange(grid[1]) + 0.5) * columns / grid[1] - 0.5
    in_rows = np.apply_along_axis(lambda line: np.interp(at_rows, np.arange(rows), line), -2, fields)
    return np.apply_along_axis(
        lambda line: np.interp(at_columns, np.arange(columns), line, period=columns), -1, in_rows
    )


@pytest.mark.parametrize("grid", [(9, 16), (7, 16), (8, 18), (8, 14), (5, 32), (11, 9)])
def test_resampling_is_bilinear_and_periodic_in_longitude(grid: tuple[int, int]) -> None:
    fields = torch.randn(2, 3, 8, 16, generator=torch.Generator().manual_seed(0))
    # Positions up to 54 in float32 are off by up to 2e-6 of a cell, and neighbours differ by up to 5.
    np.testing.assert_allclose(resample(fields, grid), interpolated(fields.double().numpy(), grid), atol=3e-5)


@pytest.mark.parametrize(("columns_in", "columns_out", "shift_in", "shift_out"), [(10, 15, 2, 3), (12, 8, 3, 2)])
def test_resampling_knows_no_first_meridian(columns_in: int, columns_out: int, shift_in: int, shift_out: int) -> None:
    fields = torch.randn(1, 2, 6, columns_in, generator=torch.Generator().manual_seed(0))
    rolled_before = resample(fields.roll(shift_in, dims=-1), (7, columns_out))
    rolled_after = resample(fields, (7, columns_out)).roll(shift_out, dims=-1)
    # As above: positions in float32.
    torch.testing.assert_close(rolled_before, rolled_after, atol=3e-5, rtol=0)


@pytest.mark.parametrize("grid", [(9, 16), (8, 18), (7, 9)])
def test_resampling_keeps_constants(grid: tuple[int, int]) -> None:
    resampled = resample(torch.full((1, 2, 8, 16), 3.7), grid)
    torch.testing.assert_close(resampled, torch.full((1, 2, *grid), 3.7))


# --- patches ---


def hand_made_patches(fields: np.ndarray, patch: int) -> np.ndarray:
    """Patches [rows * columns, channels * patch * patch] of fields [channels, h, w], west to east, north to south."""
    _, height, width = fields.shape
    return np.stack(
        [
            fields[:, row : row + patch, column : column + patch].ravel()
            for row in range(0, height, patch)
            for column in range(0, width, patch)
        ]
    )


def numbered_fields(channels: int, height: int, width: int) -> np.ndarray:
    """Fields in which every value tells channel, row and column."""
    channel, row, column = np.meshgrid(np.arange(channels), np.arange(height), np.arange(width), indexing="ij")
    return (channel * 10_000 + row * 100 + column).astype(np.float32)


def test_decode_puts_every_value_at_its_place() -> None:
    model = tiny_model(img_size=(8, 12), output_channels=2)
    fields = numbered_fields(2, 8, 12)
    patches = np.stack([hand_made_patches(fields, 4), hand_made_patches(-fields, 4)])
    assert torch.equal(model.decode(torch.from_numpy(patches)), torch.from_numpy(np.stack([fields, -fields])))


def test_embed_cuts_the_patches_that_decode_puts_back() -> None:
    model = tiny_model(img_size=(8, 12), embed_dim=48, sequence_length=2)
    model.embedding = nn.Identity()
    with torch.no_grad():
        model.space_positions.table.zero_()
        model.time_positions.zero_()
    fields = numbered_fields(3, 8, 12)
    states = torch.from_numpy(np.stack([fields, -fields]))[None]
    tokens = model.embed(states)
    expected = np.concatenate([hand_made_patches(fields, 4), hand_made_patches(-fields, 4)])
    assert torch.equal(tokens[0], torch.from_numpy(expected))
    assert torch.equal(model.decode(tokens[:, 6:]), states[:, 1])


def test_patches_of_a_resampled_grid_stay_where_they_are() -> None:
    model = tiny_model(img_size=(33, 66), patch_size=4, input_channels=1, embed_dim=16)
    model.embedding = nn.Identity()
    with torch.no_grad():
        model.space_positions.table.zero_()
        model.time_positions.zero_()
    latitude = torch.linspace(-1.5, 1.5, 33)[:, None]
    longitude = torch.arange(66)[None] * 2 * torch.pi / 66
    smooth = (torch.cos(latitude) * torch.cos(longitude))[None, None, None]
    # Two linear interpolations of a wave with 33 points a half length: each errs by at most (2 pi / 66)^2 / 8 = 1e-3
    # along a line; the rows at the ends are held, and there the field changes by 0.09 a row.
    error = (model.decode(model.embed(smooth)) - smooth[:, 0]).abs()
    assert error[..., 1:-1, :].max() < 5e-3
    assert error.max() < 0.05


# --- where the forecast starts ---


@pytest.mark.parametrize(("grid", "patch"), [((8, 16), 4), ((9, 18), 4), ((7, 13), 3)])
def test_tendency_starts_at_persistence_to_the_bit(grid: tuple[int, int], patch: int) -> None:
    options = {"img_size": grid, "patch_size": patch, "sequence_length": 3, "output_channels": 2}
    model = tiny_model(predict="tendency", **options)
    states = random_states(tiny_section(**options))
    assert torch.equal(model(states), states[:, -1, :2])


def test_state_does_not_start_at_persistence() -> None:
    states = random_states(tiny_section())
    assert not torch.allclose(tiny_model(predict="state")(states), states[:, -1], atol=0.1)


def test_tendency_can_leave_persistence() -> None:
    # A head of zeros passes no gradient on in the first step, but it must get one itself.
    model = tiny_model(predict="tendency")
    model(random_states(tiny_section())).square().mean().backward()
    assert model.head.weight.grad is not None
    assert model.head.weight.grad.abs().max() > 0


def test_tendency_is_added_to_the_newest_state() -> None:
    model = lively_model(predict="tendency", sequence_length=2)
    states = random_states(tiny_section(sequence_length=2))
    model.tendency = False
    tendency = model(states)
    model.tendency = True
    assert torch.equal(model(states), states[:, -1] + tendency)


# --- past states and channels ---


def test_forecast_depends_on_every_past_state() -> None:
    model = lively_model(sequence_length=4)
    states = random_states(tiny_section(sequence_length=4), batch=1).requires_grad_()
    model(states).square().sum().backward()
    assert states.grad is not None
    by_time = states.grad.abs().amax(dim=(0, 2, 3, 4))
    assert (by_time > 0).all()


def test_forecast_depends_on_the_order_of_the_past() -> None:
    model = lively_model(sequence_length=3).eval()
    states = random_states(tiny_section(sequence_length=3))
    swapped = states[:, [1, 0, 2]]
    assert (model(states) - model(swapped)).abs().max() > 1e-3


def test_forecast_in_one_place_depends_on_the_past_in_another() -> None:
    model = lively_model(sequence_length=2)
    states = random_states(tiny_section(sequence_length=2), batch=1).requires_grad_()
    model(states)[0, 0, 0, 0].backward()
    assert states.grad is not None
    assert states.grad[0, 0, :, 4:, 12:].abs().amin() > 0


def test_forecast_is_read_off_the_newest_tokens_in_their_own_place() -> None:
    # With blocks that add nothing, a token is its patch of its state alone: only the newest state can show, and a
    # change in one patch changes the forecast there and nowhere else.
    model = lively_model(sequence_length=2).eval()
    with torch.no_grad():
        for block in model.blocks:
            for linear in (block.attention.output, block.mlp.contract):
                linear.weight.zero_()
                linear.bias.zero_()
    states = random_states(tiny_section(sequence_length=2))
    forecast = model(states)
    older, newer = states.clone(), states.clone()
    older[:, 0, :, 4:8, 8:12] += 1.0
    newer[:, 1, :, 4:8, 8:12] += 1.0
    assert torch.equal(model(older), forecast)
    changed = (model(newer) != forecast).any(dim=0).any(dim=0)
    assert changed[4:8, 8:12].all()
    changed[4:8, 8:12] = False
    assert not changed.any()


def test_fewer_channels_out_than_in() -> None:
    model = lively_model(output_channels=1)
    states = random_states(tiny_section()).requires_grad_()
    forecast = model(states)
    assert forecast.shape == (2, 1, 8, 16)
    forecast.square().sum().backward()
    assert states.grad is not None
    assert states.grad[:, :, 2].abs().amin() > 0, "a channel that is not forecast is still seen"


def test_samples_of_a_batch_do_not_meet() -> None:
    model = lively_model()
    states = random_states(tiny_section(), batch=3)
    alone = torch.cat([model(states[i : i + 1]) for i in range(3)])
    # The same sums by kernels for another batch size: float32 rounding of values near 1, a few layers deep.
    torch.testing.assert_close(model(states), alone, atol=1e-5, rtol=1e-5)


# --- randomness ---


@pytest.mark.parametrize("kernel", ["math", "sdpa"])
@pytest.mark.parametrize("rate", ["dropout", "attention_dropout", "stochastic_depth"])
def test_only_training_drops(rate: str, kernel: str) -> None:
    model = lively_model(**{rate: 0.5}, attention=kernel)
    states = random_states(tiny_section(), batch=4)
    model.eval()
    first, second = model(states), model(states)
    assert torch.equal(first, second)
    assert torch.equal(first, lively_model(attention=kernel)(states)), "rates do not show in evaluation"
    model.train()
    assert not torch.equal(model(states), model(states))


def test_stochastic_depth_drops_whole_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    layer = StochasticDepth(0.25)
    branch = torch.ones(20_000, 2, 3)
    dropped = layer(branch)
    assert torch.equal(dropped, dropped[:, :1, :1].expand_as(dropped))
    assert set(dropped.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    # Standard error of the mean: sqrt(0.25 / 0.75 / 20000) = 0.0041; four of them.
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.0165)


def test_stochastic_depth_grows_from_no_block_to_the_last() -> None:
    model = tiny_model(num_layers=3, stochastic_depth=0.4)
    assert [block.drop_path.rate for block in model.blocks] == pytest.approx([0.0, 0.2, 0.4])
    assert tiny_model(num_layers=2, stochastic_depth=0.4).blocks[-1].drop_path.rate == pytest.approx(0.4)


def test_weights_follow_from_the_seed_alone() -> None:
    def weights(seed: int, **options: str) -> dict[str, torch.Tensor]:
        seed_weights(seed)
        return WeatherTransformer(tiny_section(**options)).state_dict()

    torch.manual_seed(123)
    first = weights(3)
    torch.manual_seed(456)
    again = weights(3, attention="sdpa", activation_checkpointing="full")
    other = weights(4)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["embedding.weight"], other["embedding.weight"])


def test_reset_parameters_gives_the_weights_of_a_new_model() -> None:
    # A model that is built without memory gets its weights by this call alone.
    model = tiny_model(predict="tendency", periodic_longitude=True, qk_norm=True)
    torch.manual_seed(5)
    model.reset_parameters()
    first = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7.0)
    torch.manual_seed(5)
    model.reset_parameters()
    assert all(torch.equal(first[name], value) for name, value in model.state_dict().items())


# --- options of attention ---


def test_qk_norm_takes_the_scale_out_of_queries_and_keys() -> None:
    model = lively_model(qk_norm=True)
    states = random_states(tiny_section())
    with torch.no_grad():
        before = model(states)
        for block in model.blocks:
            block.attention.query.weight *= 100
            block.attention.key.weight *= 100
        after = model(states)
    # LayerNorm's epsilon of 1e-5 beside a variance near 1 is all that scale can still change.
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)


def test_without_qk_norm_the_scale_shows() -> None:
    model = lively_model(qk_norm=False)
    states = random_states(tiny_section())
    with torch.no_grad():
        before = model(states)
        for block in model.blocks:
            block.attention.query.weight *= 100
        assert (model(states) - before).abs().max() > 1e-2


def test_qkv_bias_is_that_of_queries_and_values() -> None:
    with_bias = {name for name, _ in tiny_model(qkv_bias=True).named_parameters()}
    without = {name for name, _ in tiny_model(qkv_bias=False).named_parameters()}
    assert with_bias - without == {f"blocks.{i}.attention.{part}.bias" for i in (0, 1) for part in ("query", "value")}
    assert not [name for name in with_bias if name.endswith("key.bias")], "the softmax cancels a bias of the keys"


def test_forecast_is_float32_inside_autocast() -> None:
    model = lively_model(predict="state", img_size=(9, 18)).eval()
    states = random_states(tiny_section(img_size=(9, 18)))
    with torch.no_grad():
        exact = model(states)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = model(states)
    assert rounded.dtype == torch.float32
    # bfloat16 has 8 bits: each product errs by up to 0.4 %, a few layers of them by some percent.
    assert (rounded - exact).square().mean() < (0.05 * exact.std()) ** 2


# --- positions ---


def test_periodic_positions_join_across_the_date_line() -> None:
    torch.manual_seed(0)
    positions = SpacePositions(4, 64, 512, periodic=True)
    positions.reset_parameters(0.02)
    table = positions().detach().unflatten(0, (4, 64))
    steps = (table.roll(-1, dims=1) - table).square().mean(dim=(0, 2)).sqrt()
    # All steps have the same expected size; 2048 samples each scatter by some percent.
    assert steps[-1] == pytest.approx(steps[:-1].mean().item(), rel=0.15)
    across = (table.roll(-16, dims=1) - table).square().mean().sqrt()
    assert steps.max() < 0.6 * across, "neighbours are nearer than columns far apart"


@pytest.mark.parametrize(("periodic", "columns"), [(False, 64), (True, 64), (True, 10)])
def test_positions_have_the_standard_deviation_asked_for(periodic: bool, columns: int) -> None:
    torch.manual_seed(0)
    positions = SpacePositions(8, columns, 256, periodic=periodic)
    positions.reset_parameters(0.02)
    # At least 8 rows x 9 waves x 256 = 18,000 independent numbers: the standard deviation is good to 0.5 %.
    assert positions().std().item() == pytest.approx(0.02, rel=0.02)


def test_periodic_positions_know_no_first_meridian() -> None:
    # Turned by any number of columns, the positions are again a series of the same waves: nothing is lost.
    torch.manual_seed(0)
    positions = SpacePositions(3, 40, 8, periodic=True)
    positions.reset_parameters(1.0)
    turned = positions().detach().unflatten(0, (3, 40)).roll(7, dims=1)
    waves = torch.fft.rfft(turned, dim=1, norm="forward")
    with torch.no_grad():
        positions.table.copy_(
            torch.cat([waves.real[:, : positions.waves + 1], waves.imag[:, 1 : positions.waves + 1]], dim=1)
        )
    torch.testing.assert_close(positions().detach(), turned.flatten(0, 1), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("columns", "waves"), [(1, 0), (2, 0), (3, 1), (8, 3), (40, 8)])
def test_periodic_positions_are_a_fourier_series(columns: int, waves: int) -> None:
    positions = SpacePositions(2, columns, 5, periodic=True)
    assert positions.waves == waves
    nn.init.normal_(positions.table, generator=torch.Generator().manual_seed(0))
    cosine, sine = np.split(positions.table.detach().double().numpy(), [waves + 1], axis=1)
    angle = 2 * np.pi * np.arange(columns)[:, None] / columns
    expected = np.broadcast_to(cosine[:, :1], (2, columns, 5)).copy()
    for wave in range(1, waves + 1):
        expected += 2 * np.cos(wave * angle) * cosine[:, wave : wave + 1]
        expected -= 2 * np.sin(wave * angle) * sine[:, wave - 1 : wave]
    np.testing.assert_allclose(positions().detach(), expected.reshape(-1, 5), atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_and_cpu_agree() -> None:
    model = lively_model(img_size=(9, 18), attention="sdpa", periodic_longitude=True, sequence_length=2).eval()
    states = random_states(tiny_section(img_size=(9, 18), sequence_length=2))
    with torch.no_grad():
        expected = model(states)
        # float32 without TF32, sums in another order.
        torch.testing.assert_close(model.cuda()(states.cuda()).cpu(), expected, atol=1e-4, rtol=1e-4)
