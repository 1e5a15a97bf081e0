"""A checkpoint toolkit for TensorFlow."""

__version__ = "0.1.0"
