"""An exported folder works by itself: with numpy and onnxruntime alone, and with the answers that PyTorch gives."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from PIL import Image

from erde_nas.bundle.card import model_card
from erde_nas.bundle.student_file import StudentFile
from erde_nas.data.load import load_dataset
from erde_nas.networks.logits import all_logits
from erde_nas.networks.weights import load_network
from erde_nas.onnx_files.nest import thresholds_of
from erde_nas.recipe.images import DatasetSection
from erde_nas.report_data.json_records import from_json
from tests.conftest import Done, call

ALONE = """
import importlib.abc, runpy, sys
class Wall(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in sys.stdlib_module_names | {"numpy", "onnxruntime", "run"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Wall())
sys.path.insert(0, ".")
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass(frozen=True)
class Bundle:
    """An exported student with digits as PNG files, and their pixels."""

    folder: object
    images: object
    pixels: np.ndarray
    student: dict

    def run(self, *words, script="run.py"):
        """Run a script of the bundle in a fresh Python that sees numpy and onnxruntime alone."""
        command = [sys.executable, "-I", "-c", ALONE, script, *map(str, words)]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def bundle(finished, tmp_path_factory):
    name = json.loads((finished / "manifest.json").read_text())["halving"][-1]["students"][0]
    root = tmp_path_factory.mktemp("bundle")
    assert call("export", finished, "--student", name, "--to", root / "ship", "--format", "onnx").code == 0
    pixels = load_dataset(DatasetSection(name="digits")).test.images[:24]
    (root / "images").mkdir()
    for number, image in enumerate(pixels):
        Image.fromarray(image[0]).save(root / "images" / f"{number:02}.png")
    student = json.loads((root / "ship" / "student.json").read_text())
    return Bundle(root / "ship", root / "images", pixels, student)


def network_logits(bundle, finished):
    folder = finished / "students" / bundle.student["student"]
    return all_logits(load_network(folder / "weights.safetensors"), bundle.pixels)  # (exits, n, classes)


LOAD = """
import sys
import onnxruntime
for path in sys.argv[1:]:
    print("::", path, file=sys.stderr, flush=True)
    onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
"""
DEFAULT = "Initializer thresholds appears in graph inputs"  # ONNX Runtime's word on every default that can be changed


def test_files_load_in_onnx_runtime_without_a_warning(bundle, finished):
    """At its own severity: students, teacher and baselines, fp32 and int8, nested and segments. Of thresholds, which
    are an input with a default, it always says so; docs/deploy.md has the option that silences that."""
    files = sorted(map(str, [*finished.rglob("*.onnx"), *bundle.folder.rglob("*.onnx")]))
    done = subprocess.run([sys.executable, "-c", LOAD, *files], capture_output=True, text=True, check=True)
    said = {part.split("\n")[0].strip(): part.split("\n")[1:] for part in done.stderr.split(":: ")[1:]}
    assert said.keys() == set(files)
    assert any("teacher" in name for name in files)
    assert any("int8" in name for name in files)
    for name, lines in said.items():
        warnings = [line for line in lines if "[W:" in line or "[E:" in line]
        exits = 1 + len(thresholds_of(onnx.load(name)))
        assert all(DEFAULT in line for line in warnings), (name, warnings)
        assert len(warnings) == (exits > 1), (name, warnings)


def test_one_png_has_the_same_logits_everywhere(bundle, cli, finished):
    """PyTorch, `erde-nas predict`, and run.py by itself, one at a time and in batches."""
    expected = network_logits(bundle, finished)
    answers = {
        "predict": cli("predict", bundle.folder / "model.onnx", bundle.images, "--json"),
        "run.py": bundle.run(bundle.images, "--json"),
        "batches": bundle.run(bundle.images, "--batch", 10, "--json"),
    }
    rows = {}
    for name, done in answers.items():
        assert (done.code, done.err) == (0, ""), name
        rows[name] = json.loads(done.out)
        if name != "predict" and bundle.student["default"]["model"] != "model.onnx":
            continue
        assert len(rows[name]) == len(expected[0])
        for number, row in enumerate(rows[name]):
            np.testing.assert_allclose(row["logits"], expected[row["exit"], number], atol=1e-4)
    assert [r["exit"] for r in rows["run.py"]] == [r["exit"] for r in rows["batches"]]
    for one, other in zip(rows["run.py"], rows["batches"], strict=True):
        np.testing.assert_allclose(one["logits"], other["logits"], atol=1e-4)
    if bundle.student["default"]["model"] == "model.onnx":
        assert rows["run.py"] == rows["predict"]


def test_the_table_names_every_image(bundle):
    done = bundle.run(bundle.images)
    assert (done.code, done.err) == (0, "")
    lines = [line.split("\t") for line in done.out.splitlines()]
    assert [line[0] for line in lines] == [str(path) for path in sorted(bundle.images.iterdir())]
    assert {line[1] for line in lines} <= set("0123456789")


def test_the_model_cards_own_example_of_a_budget_works(bundle):
    """And it restricts something where the points differ."""
    card = (bundle.folder / "README.md").read_text()
    (words,) = re.findall(r"python run\.py folder (--budget-ms .*?)\s+#", card)
    done = bundle.run(bundle.images, *words.split())
    assert done.code == 0, done.err
    means = [row["latency_ms"]["quick"]["mean"] for row in bundle.student["trade_offs"]]
    budget = float(words.split()[1])
    assert min(means) <= budget
    assert budget <= max(means) * 1.1, "two digits, rounded up"


def test_the_card_of_a_student_with_one_exit_says_nothing_of_thresholds(bundle):
    arch = {**bundle.student["arch"], "exits": bundle.student["arch"]["exits"][:1]}
    default = {**bundle.student["default"], "model": "model.onnx", "thresholds": []}
    card = model_card(from_json(StudentFile, {**bundle.student, "arch": arch, "default": default, "baselines": []}))
    assert "with one exit" in card
    assert "- Default: `model.onnx`\n" in card
    assert "thresholds none" not in card


def test_a_budget_is_kept_or_refused(bundle):
    cheapest = min(row["latency_ms"]["quick"]["mean"] for row in bundle.student["trade_offs"])
    done = bundle.run(bundle.images, "--budget-ms", 1e6)
    best = max(row["val_accuracy"] for row in bundle.student["trade_offs"])
    assert done.code == 0
    assert f"{best:.2%} on validation" in done.err
    done = bundle.run(bundle.images, "--budget-ms", cheapest / 2)
    assert (done.code, done.out) == (2, "")
    assert (
        f"error: no operating point keeps {cheapest / 2:g} ms on quick: the cheapest takes {cheapest:.4g}" in done.err
    )


def test_the_example_of_the_model_card_runs(bundle):
    (code,) = re.findall(r"```python\n(.*?)```", (bundle.folder / "README.md").read_text(), re.S)
    assert len(code.splitlines()) <= 10
    (bundle.folder / "example.py").write_text(code)
    image = sorted(bundle.images.iterdir())[3]
    done = bundle.run(image, script="example.py")
    (bundle.folder / "example.py").unlink()
    assert done.code == 0, done.err
    (row,) = json.loads(bundle.run(image, "--json").out)
    assert done.out == f"{row['class']} from exit {row['exit']}\n"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["no.png"], "no.png does not exist; give image files or a folder with some"),
        (["segments"], "segments holds no images"),
        (["model.onnx"], "model.onnx: this format needs Pillow"),
        (["big.png"], "big.png is 20x20, but the student takes 16x16; give --resize to scale it"),
        (["big.png", "--resize"], "big.png: --resize needs Pillow"),
        (["cut.png"], "cut.png: cannot be read as an image (its chunk IDAT is damaged)"),
        (["16.png", "--batch", "0"], "--batch must be at least 1, but got 0"),
        (["16.png", "--budget-ms", "nan"], "--budget-ms must be a number above 0, but got nan"),
        (["16.png", "--profile", "moon"], "the student has no profile 'moon'; for ONNX Runtime with"),
    ],
)
def test_bad_input_is_one_line(bundle, words, reason):
    Image.new("L", (20, 20)).save(bundle.folder / "big.png")
    Image.new("L", (16, 16)).save(bundle.folder / "16.png")
    data = (bundle.folder / "16.png").read_bytes()
    (bundle.folder / "cut.png").write_bytes(data[: data.index(b"IDAT") + 10])
    done = bundle.run(*words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert reason in done.err
    assert done.err.count("\n") == 1
