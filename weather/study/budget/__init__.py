"""What an allocation buys: epochs, hours, FLOPs and jobs, from a given or a measured speed."""
