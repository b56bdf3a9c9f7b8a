"""The version, read by the build and by ``cello.__version__``."""

__version__ = "0.1.0"
