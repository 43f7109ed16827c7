"""Scaling laws: their forms, fits of them to runs, intervals, comparison. NumPy arrays in, dataclasses out."""
