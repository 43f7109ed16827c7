"""The transformer, its one attention seam, its analytic FLOPs."""
