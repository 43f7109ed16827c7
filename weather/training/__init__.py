"""The loop and what it needs: optimizer, schedule, budget, checkpoints, monitor."""
