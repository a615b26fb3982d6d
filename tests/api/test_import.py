"""`import erde_nas` is quick, and its names are what they are called whatever else is imported."""

import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import FunctionType

import pytest

import erde_nas

FUNCTIONS = ("search", "train", "measure", "compress", "export", "predict", "load_run")


def in_fresh_python(code: str) -> str:
    """What the code prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_loads_nothing_but_the_package():
    code = (
        "import sys; before = set(sys.modules); import erde_nas; new = set(sys.modules) - before\n"
        "print(sorted(name for name in new if name.split('.')[0] not in sys.stdlib_module_names))"
    )
    assert in_fresh_python(code) == "['erde_nas']\n"


def test_a_run_is_loaded_without_torch(finished):
    code = f"import sys, erde_nas; erde_nas.load_run({str(finished)!r}).front(); print('torch' in sys.modules)"
    assert in_fresh_python(code) == "False\n"


def test_every_public_name_is_there_and_listed():
    assert set(FUNCTIONS) | {"Recipe", "HardwareProfile", "UserError"} <= set(erde_nas.__all__)
    for name in erde_nas.__all__:
        assert callable(getattr(erde_nas, name)), name
    assert set(dir(erde_nas)) == {*erde_nas.__all__, "__version__", "distil", "pareto"}
    with pytest.raises(AttributeError, match="module 'erde_nas' has no attribute 'serach'"):
        erde_nas.serach  # noqa: B018


def test_no_room_takes_the_name_of_a_function():
    """A sub-package becomes an attribute of the package as soon as anybody imports it."""
    rooms = [module.name for module in pkgutil.iter_modules(erde_nas.__path__)]
    assert not set(rooms) & set(erde_nas.__all__)
    for room in rooms:
        import_module(f"erde_nas.{room}")
    for module in ("searching.loop", "measurement.latency", "compression.prune", "bundle.predict", "api.search"):
        import_module(f"erde_nas.{module}")
    for name in FUNCTIONS:
        assert isinstance(getattr(erde_nas, name), FunctionType), name


def test_front_maths_and_losses_need_no_import_of_their_own():
    code = (
        "import erde_nas; print(erde_nas.pareto.non_dominated([[0, 1], [1, 0], [1, 1]]).tolist(), "
        "erde_nas.distil.losses.kd_loss.__name__)"
    )
    assert in_fresh_python(code) == "[True, True, False] kd_loss\n"


def test_types_are_announced():
    assert (Path(erde_nas.__file__).parent / "py.typed").is_file()
