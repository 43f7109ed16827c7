"""Who runs where: ranks, devices, seeds, signals, logs."""
