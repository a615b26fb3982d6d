"""Runtimes by name. Each is a module of its own, imported when it is used: most are optional."""

from importlib import import_module
from typing import cast

from erde_nas.runtimes.interface import Runtime

RUNTIMES = {
    "onnxruntime": "erde_nas.runtimes.onnxruntime",
    "openvino": "erde_nas.runtimes.openvino",
    "torch": "erde_nas.runtimes.torch",
    "torch-compile": "erde_nas.runtimes.torch_compile",
    "executorch": "erde_nas.runtimes.executorch",
}


def runtime(name: str) -> Runtime:
    """The runtime of that name. Its package is imported by what it does, not here."""
    return cast(Runtime, import_module(RUNTIMES[name]))
