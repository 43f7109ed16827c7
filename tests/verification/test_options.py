"""What the options of a verification ask for."""

from __future__ import annotations

import argparse

import pytest

from weather.errors import ConfigError
from weather.verification.options import add_verification_options, verification_settings


def settings(*words: str) -> dict[str, object]:
    arguments = argparse.ArgumentParser()
    add_verification_options(arguments)
    return verification_settings(arguments.parse_args(words))


def test_every_option_arrives() -> None:
    words = "--leads 6h,3d --step 12h --baselines persistence --climatology harmonic --regions global,tropics"
    chosen = settings(*words.split(), *["--init_every", "12h", "--most", "5", "--bootstrap", "0", "--no-spectra"])
    assert chosen == {
        "leads": (6.0, 72.0),
        "step": 12.0,
        "baselines": ("persistence",),
        "climatology": "harmonic",
        "regions": ["global", "tropics"],
        "init_every": 12.0,
        "most": 5,
        "replicates": 0,
        "spectra": False,
    }
    assert settings()["step"] is None and settings()["spectra"] is True


@pytest.mark.parametrize("option", ["--leads", "--step", "--init_every"])
def test_what_is_no_lead_is_refused_by_its_option(option: str) -> None:
    with pytest.raises(ConfigError, match=f"{option} soon"):
        settings(option, "soon")
