"""What `python -m weather.doctor` examines before allocation is spent: the machine, the data, the model."""
