"""Measurements of this machine beside what the project makes of it; always as ratios taken in one run."""
