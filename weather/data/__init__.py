"""From year files on disk to batches on the device."""
