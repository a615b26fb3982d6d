"""Runtimes by name. Each is a module of its own, imported when it is used: most are optional."""

from importlib import import_module
from typing import cast

from erde_nas.runtimes.interface import Runtime

RUNTIMES = {"onnxruntime": "erde_nas.runtimes.onnxruntime"}


def runtime(name: str) -> Runtime:
    """The runtime of that name. Its package is imported by what it does, not here."""
    return cast(Runtime, import_module(RUNTIMES[name]))
