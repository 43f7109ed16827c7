"""What a run's config may say, and how it is read from YAML."""
