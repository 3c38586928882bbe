"""The version, and nothing else: setuptools reads it without importing anything of ours."""

__version__ = "0.1.0"
