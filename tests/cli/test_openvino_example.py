"""examples/openvino/classify.py: the answers and exits of the same student in ONNX Runtime."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from erde_nas.data.load import load_dataset
from erde_nas.device.runtimes import runtime
from erde_nas.device.runtimes.interface import Setting
from erde_nas.recipe.images import DatasetSection

EXAMPLE = Path(__file__).parents[2] / "examples" / "openvino" / "classify.py"


@pytest.mark.extra
def test_it_answers_as_the_onnx_file_does(cli, finished, shortlisted, tmp_path):
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    ship = tmp_path / "ship"
    done = cli("export", finished, "--student", shortlisted, "--to", ship, "--format", "openvino")
    assert done.code == 0, done.err
    described = json.loads((ship / "student.json").read_text())
    pixels = load_dataset(DatasetSection(name="digits")).test.images[:24]
    paths = [tmp_path / f"{number}.png" for number in range(len(pixels))]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image[0]).save(path)
    run = subprocess.run([sys.executable, EXAMPLE, ship, *paths], capture_output=True, text=True, check=True)
    onnx_file = runtime("onnxruntime").load([str(ship / "model.onnx")], Setting())
    thresholds = np.array(described["models"]["model.onnx"]["thresholds"], np.float32)
    for line, path, image in zip(run.stdout.splitlines(), paths, pixels, strict=True):
        logits, taken = onnx_file.run(image[None], thresholds)
        found = re.fullmatch(r"(.*): (.*) \(([0-9.]+)%\), exit (\d+)", line)
        assert found is not None, line
        assert found[1] == str(path)
        assert found[2] == described["classes"][int(logits.argmax())]
        odds = np.exp(logits[0] - logits.max())
        assert float(found[3]) == pytest.approx(100 * odds.max() / odds.sum(), abs=0.2)
        assert int(found[4]) == int(taken[0])


@pytest.mark.extra
def test_it_refuses_an_image_of_another_size(cli, finished, shortlisted, tmp_path):
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    ship = tmp_path / "ship"
    assert cli("export", finished, "--student", shortlisted, "--to", ship, "--format", "openvino").code == 0
    Image.new("L", (20, 10)).save(tmp_path / "wide.png")
    run = subprocess.run([sys.executable, EXAMPLE, ship, tmp_path / "wide.png"], capture_output=True, text=True)
    assert run.returncode == 1
    assert "wide.png: must have 16x16 pixels, but has 20x10; scale it" in run.stderr
