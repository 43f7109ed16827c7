"""The subcommands of `weather.scaling`, one a file."""
