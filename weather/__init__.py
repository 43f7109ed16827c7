"""Train Vision Transformers on gridded weather and study how they scale."""

__version__ = "0.1.0"
