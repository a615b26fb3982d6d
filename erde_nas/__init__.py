"""erde-nas: hardware-aware search, distillation and compression of early-exit image classifiers.

Importing it is quick: each name below loads what it needs when it is first used (PEP 562).
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from erde_nas import distil as distil
    from erde_nas import pareto as pareto
    from erde_nas.api.compare import RunComparison as RunComparison
    from erde_nas.api.compare import compare as compare
    from erde_nas.api.compress import compress as compress
    from erde_nas.api.exits import exits as exits
    from erde_nas.api.export import export as export
    from erde_nas.api.init import init as init
    from erde_nas.api.measure import measure as measure
    from erde_nas.api.own import own as own
    from erde_nas.api.predict import predict as predict
    from erde_nas.api.run import Run as Run
    from erde_nas.api.run import load_run as load_run
    from erde_nas.api.search import plan as plan
    from erde_nas.api.search import search as search
    from erde_nas.api.student import Student as Student
    from erde_nas.api.train import train as train
    from erde_nas.api.verify import verify as verify
    from erde_nas.errors import SearchInterrupted as SearchInterrupted
    from erde_nas.errors import UserError as UserError
    from erde_nas.recipe.profile import HardwareProfile as HardwareProfile
    from erde_nas.recipe.recipe import Recipe as Recipe

    __version__: str

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime reports to its maker, from the moment it is loaded

_PLACES = {
    "search": "erde_nas.api.search",
    "plan": "erde_nas.api.search",
    "train": "erde_nas.api.train",
    "init": "erde_nas.api.init",
    "measure": "erde_nas.api.measure",
    "compare": "erde_nas.api.compare",
    "compress": "erde_nas.api.compress",
    "exits": "erde_nas.api.exits",
    "export": "erde_nas.api.export",
    "own": "erde_nas.api.own",
    "predict": "erde_nas.api.predict",
    "verify": "erde_nas.api.verify",
    "load_run": "erde_nas.api.run",
    "Run": "erde_nas.api.run",
    "RunComparison": "erde_nas.api.compare",
    "Student": "erde_nas.api.student",
    "Recipe": "erde_nas.recipe.recipe",
    "HardwareProfile": "erde_nas.recipe.profile",
    "UserError": "erde_nas.errors",
    "SearchInterrupted": "erde_nas.errors",
}
_MODULES = {"distil": "erde_nas.distil.losses", "pareto": "erde_nas.pareto"}  # whose parts are for callers, too

__all__ = [  # literally, as type checkers want it; a test compares it with the places
    "HardwareProfile",
    "Recipe",
    "Run",
    "RunComparison",
    "SearchInterrupted",
    "Student",
    "UserError",
    "compare",
    "compress",
    "exits",
    "export",
    "init",
    "load_run",
    "measure",
    "own",
    "plan",
    "predict",
    "search",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = _version()
    elif name in _MODULES:
        import_module(_MODULES[name])
        value = import_module(f"erde_nas.{name}")
    elif name in _PLACES:
        value = getattr(import_module(_PLACES[name]), name)
    else:
        raise AttributeError(f"module 'erde_nas' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES, "__version__"])


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("erde-nas")
    except PackageNotFoundError:  # a source tree on PYTHONPATH, never installed
        return "0+unknown"
