"""Tests of weather.data.conversion."""
