"""Tests of weather.study.commands."""
