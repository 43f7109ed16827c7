"""The same ERA5 states as GRIB and as scaled NetCDF (cfgrib's own samples) make the same archive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.real.chain import Chain, year_file
from weather.data.statistics import read_record

pytestmark = pytest.mark.slow


def test_grib_and_netcdf_make_the_same_archive_to_packing_precision(chain: Chain, cfgrib_samples: Path) -> None:
    for package in ("cfgrib", "xarray", "netCDF4"):
        pytest.importorskip(package, reason="reading GRIB and NetCDF (extra: io)")
    for suffix in ("grib", "nc"):
        source = cfgrib_samples / f"era5-levels-members.{suffix}"
        chain.convert(source, suffix, "--select", "number=3", "--split", "0.5,0.25,0.25")
    for split, states in (("train", 2), ("valid", 1), ("test", 1)):
        grib, netcdf = (year_file(chain.folder / suffix, split, 2017) for suffix in ("grib", "nc"))
        assert grib["channel"].tolist() == [b"z500", b"z850", b"t500", b"t850"]
        assert grib["fields"].shape == (states, 4, 61, 120)
        for name in ("channel", "channel_units", "latitude", "longitude", "time"):
            np.testing.assert_array_equal(grib[name], netcdf[name])
        # Packed integers in one, tenths of float64 in the other: they may round to neighbouring float32.
        np.testing.assert_allclose(grib["fields"], netcdf["fields"], rtol=2.0**-22)
    records = [read_record(chain.folder / suffix) for suffix in ("grib", "nc")]
    assert records[0] is not None and records[1] is not None
    assert records[0].channel_units == records[1].channel_units == ("m2 s-2", "m2 s-2", "K", "K")
    np.testing.assert_allclose(records[0].moments.stds, records[1].moments.stds, rtol=1e-5)
