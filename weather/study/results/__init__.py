"""What came out: the table of runs, their skill, predictions and how they held."""
