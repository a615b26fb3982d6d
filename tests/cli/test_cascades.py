"""What a user does with a student works with a cascade: it stands in the report, is shipped, runs and is measured."""

import csv
import io
import json
import subprocess
import sys

import numpy as np
import pytest

from erde_nas.data.load import load_dataset
from erde_nas.device import bundle_runner
from erde_nas.device.exit_rules import ENTROPY
from erde_nas.networks.cascade import Cascade
from erde_nas.networks.logits import all_logits
from erde_nas.networks.macs import macs_per_exit
from erde_nas.networks.operating_points import exit_indices, operate, scores
from erde_nas.networks.weights import load_deployed
from erde_nas.recipe.recipe import load_recipe


@pytest.fixture(scope="module")
def run(cli, tiny, tmp_path_factory):
    """A run in which pairs are joined whatever they gain: its students are too much alike for anything to be gained."""
    folder = tmp_path_factory.mktemp("cascades")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ERDE_NAS_CACHE", str(tiny.cache))
        patch.setattr("erde_nas.networks.cascade_choice.MARGIN", -9.0)
        done = cli(*tiny.variant(folder, "cascades: false", "cascades: true").search(folder / "run"))
    assert done.code == 0, done.err
    return folder / "run"


@pytest.fixture(scope="module")
def points(run):
    """The points of the first cascade's fp32 file."""
    found = [p for p in json.loads((run / "pareto.json").read_text())["points"] if p["cascade"]]
    assert found
    return [p for p in found if p["student"] == found[0]["student"] and p["stage"] == "finished"]


@pytest.fixture(scope="module")
def shipped(cli, run, points, tmp_path_factory):
    to = tmp_path_factory.mktemp("shipped") / "ship"
    done = cli("export", run, "--student", points[0]["student"], "--to", to, "--format", "onnx")
    assert (done.code, done.err) == (0, "")
    return to


@pytest.fixture(scope="module")
def images(run):
    recipe = load_recipe(run / "recipe.yaml")
    return load_dataset(recipe.dataset, None).test


def test_its_points_say_what_it_is_made_of_and_what_the_files_do(run, points, images):
    name, network = points[0]["student"], load_deployed(run / "students" / points[0]["student"] / "weights.safetensors")
    assert isinstance(network, Cascade)
    logits = all_logits(network, images.images)
    for point in points:
        assert "+".join(point["cascade"]) == name
        assert point["averaged"] == network.averaged
        assert point["arch"] is None
        assert point["macs_per_exit"] == list(macs_per_exit(network))
        assert point["params"] == sum(parameter.numel() for parameter in network.parameters())
        found = operate(logits, images.labels, point["macs_per_exit"], point["thresholds"])
        assert point["test_accuracy"] == pytest.approx(found.accuracy)
        assert point["macs"] == pytest.approx(np.dot(point["exit_fractions"], point["macs_per_exit"]))
        assert all(latency["source"] == "measured" for latency in point["latency_ms"].values())
        assert point["latency_ms"]


def test_the_report_shows_it(cli, run, points):
    name = points[0]["student"]
    for file in ("report.html", "report.md", "pareto.csv"):
        assert name in (run / file).read_text().replace("\\", "")
    assert cli("report", run).code == 0
    rows = csv.DictReader(io.StringIO((run / "pareto.csv").read_text()))
    assert name in [row["student"] for row in rows]


def test_the_shipped_folder_says_so_and_its_program_runs_alone(shipped, points, images, tmp_path):
    described = json.loads((shipped / "student.json").read_text())
    assert len(described["arch"]["cascade"]) == 2
    card = (shipped / "README.md").read_text()
    assert "cascade of two networks" in card
    np.save(tmp_path / "a.npy", images.images[0])
    np.save(tmp_path / "b.npy", images.images[1])
    row = min(described["trade_offs"], key=lambda row: row["latency_ms"]["quick"]["mean"])
    budget = ["--budget-ms", str(row["latency_ms"]["quick"]["mean"] * 1.001)]
    answers = []
    for more in ([], ["--batch", "2"], budget):
        words = [sys.executable, shipped / "run.py", tmp_path / "a.npy", tmp_path / "b.npy", "--json", *more]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        answers.append([(found["class"], found["exit"]) for found in json.loads(done.stdout)])
    assert answers[0] == answers[1]


def test_single_images_and_batches_leave_where_pytorch_says(run, shipped, points, images):
    described = json.loads((shipped / "student.json").read_text())
    model = described["models"]["model.onnx"]
    network = load_deployed(run / "students" / points[0]["student"] / "weights.safetensors")
    few = images.images[:40]
    expected, thresholds = all_logits(network, few), model["thresholds"]
    score = scores(ENTROPY, expected)
    taken = exit_indices(score, thresholds)
    sure = (np.abs(score - np.reshape(thresholds, (-1, 1))) > 1e-4).all(0)
    session = bundle_runner.open_session((shipped / "model.onnx").read_bytes())
    segments = [bundle_runner.open_session((shipped / part).read_bytes()) for part in model["segments"]]
    singly = [bundle_runner.run_one(session, image, None) for image in few]
    logits, exits = bundle_runner.run_batch(segments, few, thresholds)
    assert (
        exits[sure].tolist() == taken[sure].tolist() == [exit_ for (_, exit_), s in zip(singly, sure, strict=True) if s]
    )
    np.testing.assert_allclose(logits, expected[exits, np.arange(40)], atol=1e-3)
    np.testing.assert_allclose([found for found, _ in singly], logits, atol=1e-3)


def test_the_file_can_be_measured_and_asked(cli, shipped, images, tiny, tmp_path):
    np.save(tmp_path / "a.npy", images.images[0])
    done = cli("predict", shipped / "model.onnx", tmp_path / "a.npy", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)[0]["class"] in "0123456789"
    done = cli("profile", shipped / "model.onnx", "--profile", tiny.profile, "--json")
    assert done.code == 0, done.err
    assert len(json.loads(done.out)[0]["exit_fractions"]) == len(json.loads(done.out)[0]["per_exit"])
