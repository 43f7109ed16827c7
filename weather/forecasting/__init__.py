"""Forecasts out of a trained model: what is asked for, how it is made, the files, and what an ensemble is worth."""
