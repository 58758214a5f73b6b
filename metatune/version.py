"""The version of metatune, in one place."""

__version__ = "0.1.0"
