"""Archives out of other formats: NetCDF, Zarr and GRIB are read lazily and written as year files."""
