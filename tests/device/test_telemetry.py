"""ONNX Runtime must not report to its maker: tests/cli/test_no_connections.py watches, this is what it rests on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from erde_nas.device import bundle_runner

PROBE = "import builtins, os, sys\nfound = []\nreal = builtins.__import__\n"
PROBE += "def watched(name, *rest):\n    if name == 'onnxruntime' and 'onnxruntime' not in sys.modules:\n"
PROBE += "        found.append(os.environ.get('ORT_DISABLE_TELEMETRY'))\n    return real(name, *rest)\n"
PROBE += "builtins.__import__ = watched\n"
IMPORTS = {
    "package": "import erde_nas.bundle.predict",
    "runtime": "from erde_nas.device.runtimes.onnxruntime import import_onnxruntime as i; i()",
    "run.py": f"import runpy; runpy.run_path({str(Path(str(bundle_runner.__file__)))!r}, run_name='runner')",
}


@pytest.mark.parametrize("how", IMPORTS)
@pytest.mark.parametrize(("before", "then"), [(None, "1"), ("0", "0")])
def test_it_is_switched_off_before_it_is_loaded(how, before, then):
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    environment |= {} if before is None else {"ORT_DISABLE_TELEMETRY": before}
    code = f"{PROBE}{IMPORTS[how]}\nprint(found[0])"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [then]
