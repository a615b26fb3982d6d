"""erde-nas export: the folder to ship, all of it or nothing."""

import hashlib
import json

import numpy as np
import onnx
import pytest

from erde_nas.data.kind import licence
from erde_nas.data.load import load_dataset
from erde_nas.device.instructions import EXACT_INT8, exact_int8, in_words
from erde_nas.device.machine import this_cpu
from erde_nas.device.runtimes import runtime
from erde_nas.device.runtimes.interface import Setting
from erde_nas.networks.logits import all_logits
from erde_nas.networks.operating_points import entropies, exit_indices
from erde_nas.networks.weights import load_network
from erde_nas.onnx_files.nest import thresholds_of
from erde_nas.recipe.recipe import load_recipe
from erde_nas.registry import DATASETS

ONNX = ("--format", "onnx")  # the quickest
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 1, 16, 16), dtype=np.uint8)


@pytest.fixture
def bundle(cli, finished, shortlisted, tmp_path):
    done = cli("export", finished, "--student", shortlisted, "--to", tmp_path / "deep" / "ship", *ONNX)
    assert (done.code, done.err) == (0, "")
    return tmp_path / "deep" / "ship"


@pytest.fixture
def described(bundle):
    return json.loads((bundle / "student.json").read_text())


@pytest.fixture
def report(finished, shortlisted):
    found = json.loads((finished / "pareto.json").read_text())
    return {**found, "points": [point for point in found["points"] if point["student"] == shortlisted]}


def test_a_student_goes_to_a_new_folder(cli, finished, shortlisted, tmp_path):
    to = tmp_path / "deep" / "ship"
    done = cli("export", finished, "--student", shortlisted, "--to", to, *ONNX)
    assert (done.code, done.err) == (0, "")
    printed, there = done.out.splitlines(), {str(path) for path in to.rglob("*") if path.is_file()}
    assert set(printed) == there
    assert printed[-1] == str(to / "student.json")
    assert {"model.onnx", "model.int8.onnx", "README.md", "run.py", "segments"} <= {path.name for path in to.iterdir()}
    assert [path.name for path in to.parent.iterdir()] == ["ship"]


def test_files_are_those_of_the_run_and_described_by_their_hash(bundle, described, finished, shortlisted):
    for name in ("model.onnx", "model.int8.onnx"):
        assert (bundle / name).read_bytes() == (finished / "students" / shortlisted / name).read_bytes()
    there = {str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file()}
    assert set(described["files"]) == there - {"student.json"}
    for name, entry in described["files"].items():
        data = (bundle / name).read_bytes()
        assert entry == {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def test_every_model_is_valid_onnx_without_a_trace_of_the_machine(bundle):
    models = sorted(bundle.rglob("*.onnx"))
    assert len(models) > 4
    for path in models:
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        assert {entry.domain: entry.version for entry in model.opset_import}[""] >= 18
        graphs = [model.graph]
        for graph in graphs:
            graphs += [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
            for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
                assert not part.doc_string
                assert not part.metadata_props
        assert not model.doc_string
        allowed = {
            "student",
            "dataset",
            "classes",
            "precision",
            "validation_accuracy",
            "exit_fractions",
            "instructions",
        }
        assert {entry.key for entry in model.metadata_props} <= allowed


def test_two_exports_hold_the_same_bytes(cli, bundle, finished, shortlisted, tmp_path):
    assert cli("export", finished, "--student", shortlisted, "--to", tmp_path / "again", *ONNX).code == 0
    for path in bundle.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "again" / path.relative_to(bundle)).read_bytes(), path.name


def test_what_student_json_says(described, report, finished, shortlisted):
    dataset = load_dataset(load_recipe(finished / "recipe.yaml").dataset, None)
    assert (described["schema"], described["student"]) == (1, shortlisted)
    assert described["classes"] == list("0123456789")
    assert (described["input"]["channels"], described["input"]["size"]) == (1, 16)
    assert described["input"]["normalisation"] == {
        "where": "in the file",
        "mean": pytest.approx(dataset.mean, abs=1e-6),
        "std": pytest.approx(dataset.std, abs=1e-6),
    }
    assert described["data"] == {
        **{
            "name": "digits",
            "train": len(dataset.train),
            "validation": len(dataset.validation),
            "test": len(dataset.test),
        },
        **{"fingerprint": dataset.fingerprint, "licence": licence("digits")},
        "section": load_recipe(finished / "recipe.yaml").dataset.model_dump(mode="json", exclude={"path"}),
    }
    assert described["measurements"] == report["points"]
    assert described["provenance"]["recipe"] == "tiny"
    assert described["arch"] == report["points"][0]["arch"]
    assert described["profiles"]["quick"]["precision"] == "int8"
    needs = list(EXACT_INT8) if exact_int8(this_cpu()) else []  # the profile's target is this machine
    assert described["models"]["model.int8.onnx"]["instructions"] == needs
    assert described["models"]["model.onnx"]["instructions"] == []
    assert not described["profiles"]["quick"]["elsewhere"]


def test_the_default_is_the_best_file_at_the_thresholds_in_it(bundle, described, report):
    default = described["default"]
    assert default["thresholds"] == pytest.approx(thresholds_of(onnx.load(bundle / default["model"])))
    offered = {point["file"].rsplit("/", 1)[1] for point in report["points"] if point["offered"]}
    assert default["model"] in (offered or set(described["models"]))
    assert default in described["trade_offs"]
    for name, model in described["models"].items():
        assert model["offered"] == (name in offered)
        assert model["thresholds"] == pytest.approx(thresholds_of(onnx.load(bundle / name)))


def test_trade_offs_hold_on_validation(described, report, finished, shortlisted):
    validation = load_dataset(load_recipe(finished / "recipe.yaml").dataset, None).validation
    logits = all_logits(load_network(finished / "students" / shortlisted / "weights.safetensors"), validation.images)
    per_exit = next(p for p in report["points"] if p["stage"] == "finished")["latency_ms"]["quick"]["per_exit"]
    rows = [row for row in described["trade_offs"] if row["model"] == "model.onnx"]
    for row in rows:
        taken = exit_indices(entropies(logits), row["thresholds"])
        right = logits.argmax(-1)[taken, np.arange(len(taken))] == validation.labels
        assert row["val_accuracy"] == pytest.approx(right.mean())
        assert row["exit_fractions"] == pytest.approx(np.bincount(taken, minlength=len(logits)) / len(taken))
        latency = row["latency_ms"]["quick"]
        assert latency["source"] == ("estimated" if row["test_accuracy"] is None else "measured")
        if latency["source"] == "estimated":
            assert latency["mean"] == pytest.approx(np.dot(row["exit_fractions"], per_exit))
    assert len({tuple(row["thresholds"]) for row in rows}) == len(rows) <= 23
    means = [row["latency_ms"]["quick"]["mean"] for row in described["trade_offs"]]
    assert means == sorted(means)


def test_the_model_card_says_what_there_is(bundle, described):
    card = (bundle / "README.md").read_text()
    for text in (described["student"], "16×16", licence("digits"), "recipe tiny", "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"):
        assert text in card
    assert f"{100 * described['default']['test_accuracy']:.1f} %" in card
    where = in_words(described["models"]["model.int8.onnx"]["instructions"])
    assert f"- The accuracy of `model.int8.onnx` holds on {where}." in card
    assert "`model.onnx` holds" not in card


def test_an_empty_folder_will_do(cli, finished, shortlisted, tmp_path):
    (tmp_path / "empty").mkdir()
    assert cli("export", finished, "--student", f"{shortlisted}-p50", "--to", tmp_path / "empty", *ONNX).code == 0
    found = json.loads((tmp_path / "empty" / "student.json").read_text())
    assert found["student"] == f"{shortlisted}-p50"
    assert found["stage"] in ("pruned", "quantized")  # whichever is measured to be faster


def test_an_existing_folder_or_file_is_left_alone(refused, finished, shortlisted, tmp_path):
    (tmp_path / "mine").write_text("")
    for to in (tmp_path, tmp_path / "mine"):
        message = refused("export", finished, "--student", shortlisted, "--to", to, *ONNX)
        assert message == f"--to {to} exists already; give a new folder"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_student_without_a_file(refused, finished, shortlisted, other, tmp_path):
    for name in (other, "nobody"):
        message = refused("export", finished, "--student", name, "--to", tmp_path / "ship", *ONNX)
        assert f"has no deployable file of '{name}'; it has those of {shortlisted}, {shortlisted}-p50" in message
        assert f"`erde-nas compress {finished} --student ID`" in message
    assert not (tmp_path / "ship").exists()


def test_files_that_do_not_fit_the_report(refused, run, shortlisted, tmp_path):
    """A measurement that was cut short leaves a file whose thresholds the report does not know: nothing is written."""
    folder = run / "students" / shortlisted
    to = tmp_path / "ship"
    model = onnx.load(folder / "model.onnx")
    thresholds = next(tensor for tensor in model.graph.initializer if tensor.name == "thresholds")
    thresholds.CopyFrom(onnx.numpy_helper.from_array(np.full(thresholds.dims, 0.123, np.float32), "thresholds"))
    onnx.save(model, folder / "model.onnx")
    message = refused("export", run, "--student", shortlisted, "--to", to, *ONNX)
    assert "model.onnx is not the file" in message
    assert f"measure the run again with `erde-nas compress {run}`" in message
    (folder / "model.onnx").unlink()
    assert "model.onnx is missing" in refused("export", run, "--student", shortlisted, "--to", to, *ONNX)
    assert not to.exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_no_run(refused, tmp_path):
    assert "holds no run" in refused("export", tmp_path, "--student", "x", "--to", tmp_path / "ship", *ONNX)


def test_every_data_set_has_its_licence():
    assert all(len(licence(name)) > 2 and licence(name) != "not stated" for name in DATASETS)
    assert licence("unheard-of") == "not stated"


@pytest.mark.parametrize(
    ("form", "files", "batch"),
    [
        pytest.param("openvino", ["openvino/model.xml"], IMAGES, marks=pytest.mark.extra),
        pytest.param("executorch", [f"executorch/model-{i}.pte" for i in range(3)], IMAGES, marks=pytest.mark.extra),
    ],
)
def test_other_formats_answer_as_the_onnx_file_does(cli, finished, shortlisted, tmp_path, form, files, batch):
    pytest.importorskip(form, reason=f"the extra {form} is not installed")
    done = cli("export", finished, "--student", shortlisted, "--to", tmp_path / "ship", "--format", form)
    assert (done.code, done.err) == (0, "")
    described = json.loads((tmp_path / "ship" / "student.json").read_text())
    entries = [entry for entry in described["other_formats"].values() if entry["made_from"] == "model.onnx"]
    assert [entry["runtime"] for entry in entries] == [form]
    assert set(files) <= described["files"].keys()
    other = runtime(form).load([str(tmp_path / "ship" / name) for name in files], Setting())
    onnx_file = runtime("onnxruntime").load([str(tmp_path / "ship" / "model.onnx")], Setting())
    thresholds = np.array(entries[0]["thresholds"], np.float32)
    for image in batch:
        expected, taken = onnx_file.run(image[None], thresholds)
        logits, exit_index = other.run(image[None], thresholds)
        np.testing.assert_allclose(logits, expected, atol=1e-3)
        assert exit_index == taken


def test_formats_that_cannot_be_written(refused, finished, shortlisted, tmp_path, monkeypatch):
    words = ("export", finished, "--student", shortlisted, "--to", tmp_path / "ship", "--format")
    assert refused(*words, "tflite") == "--format must be onnx, openvino or executorch, but got 'tflite'"
    monkeypatch.setattr("erde_nas.bundle.formats.find_spec", lambda name: None)
    assert "pip install 'erde-nas[openvino]'" in refused(*words, "openvino")
    assert not (tmp_path / "ship").exists()
