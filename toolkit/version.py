"""The version, which the distribution and exported files bear."""

__version__ = "0.1.0"
