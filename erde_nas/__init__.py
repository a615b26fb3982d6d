"""erde-nas: hardware-aware search, distillation and compression of early-exit image classifiers."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("erde-nas")
except PackageNotFoundError:  # a source tree on PYTHONPATH, never installed
    __version__ = "0+unknown"
