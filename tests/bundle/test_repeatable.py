"""The same weights give the same bytes, in any process and whatever the order of its hashes."""

import hashlib
import os
import subprocess
import sys

import numpy as np

from erde_nas.networks.weights import save_network
from tests.networks.builders import build, digits, small_arch

EXPORT = """
import hashlib, json, sys
from pathlib import Path

import numpy as np

from erde_nas.onnx_files.file_kind import FP32, INT8
from erde_nas.onnx_files.write import make_segments, write_file
from erde_nas.networks.weights import load_network

images = np.load("images.npy")
for precision, segments in make_segments(load_network(Path("weights.safetensors")), [FP32, INT8], images).items():
    write_file(segments, [0.5, 0.25], Path(f"{precision}.onnx"), {"student": "x", "classes": "a\\nb"})
    print(precision, hashlib.sha256(Path(f"{precision}.onnx").read_bytes()).hexdigest())
"""


def test_two_processes_write_the_same_files(tmp_path):
    save_network(build(small_arch("mobilenet", ("erde", "conv", "gap"))), tmp_path)
    np.save(tmp_path / "images.npy", digits()[0][:64])
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    printed = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": root}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", EXPORT],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    assert printed[0] == printed[1]
    assert [line.split()[0] for line in printed[0].splitlines()] == ["fp32", "int8"]
    for precision in ("fp32", "int8"):
        data = (tmp_path / f"{precision}.onnx").read_bytes()
        assert hashlib.sha256(data).hexdigest() in printed[0]
        assert str(tmp_path).encode() not in data
        assert root.encode() not in data
