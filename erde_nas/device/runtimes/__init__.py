"""The name of a runtime in, its module out, imported when it is used: most are optional."""

from importlib import import_module
from typing import cast

from erde_nas.device.runtimes.interface import Runtime

RUNTIMES = {
    "onnxruntime": "erde_nas.device.runtimes.onnxruntime",
    "openvino": "erde_nas.device.runtimes.openvino",
    "torch": "erde_nas.device.runtimes.torch",
    "torch-compile": "erde_nas.device.runtimes.torch_compile",
    "executorch": "erde_nas.device.runtimes.executorch",
}


def runtime(name: str) -> Runtime:
    """The runtime of that name. Its package is imported by what it does, not here."""
    return cast(Runtime, import_module(RUNTIMES[name]))
