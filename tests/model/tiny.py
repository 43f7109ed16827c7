"""A transformer small enough that a test may build many."""

from __future__ import annotations

from typing import Any

import torch

from weather.config.schema import ModelSection
from weather.model.transformer import WeatherTransformer


def tiny_section(**options: Any) -> ModelSection:
    """A resolved model section that forecasts all its channels; `options` replace its values."""
    settings: dict[str, Any] = {
        "embed_dim": 16,
        "num_layers": 2,
        "num_heads": 2,
        "patch_size": 4,
        "img_size": (8, 16),
        "input_channels": 3,
        "attention": "math",
    } | options
    settings.setdefault("output_channels", settings["input_channels"])
    return ModelSection(**settings)


def tiny_model(**options: Any) -> WeatherTransformer:
    """A model with fixed random weights."""
    torch.manual_seed(0)
    return WeatherTransformer(tiny_section(**options))


def lively_model(**options: Any) -> WeatherTransformer:
    """The same with weights so large that every part shows in the output; fresh blocks hardly change their input."""
    model = tiny_model(**options)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("weight") and parameter.ndim == 2:
                parameter.normal_(std=parameter.shape[1] ** -0.5)
            elif "positions" in name:
                parameter.normal_(std=0.5)
    return model


def random_states(section: ModelSection, batch: int = 2) -> torch.Tensor:
    """Normalised past states [batch, sequence_length, embedded_channels, h, w]."""
    assert section.img_size != "auto" and section.input_channels != "auto"
    generator = torch.Generator().manual_seed(1)
    return torch.randn(
        batch, section.sequence_length, section.embedded_channels, *section.img_size, generator=generator
    )
