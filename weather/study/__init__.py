"""Scaling studies: from a grid of budgets to a defended law and the next run."""
