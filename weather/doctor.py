"""Examine a machine, an archive and a model before a run is paid for: ``python -m weather.doctor``."""
