"""The runner's choices and its errors; tests/cli/test_bundle_runs.py runs it as users do."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from erde_nas.device import bundle_runner as run
from erde_nas.device.exit_rules import ENTROPY
from erde_nas.device.runtimes.onnxruntime import run_segments
from erde_nas.networks.logits import all_logits
from erde_nas.networks.operating_points import entropies
from erde_nas.onnx_files.nest import nest
from erde_nas.onnx_files.quantize import Quantization, quantize_segments
from erde_nas.onnx_files.rule_nodes import with_score
from erde_nas.onnx_files.segments import export_segments
from tests.networks.builders import build, digits, medians, small_arch

IMAGES = digits()[0][:50]


def point(accuracy, mean, source="measured"):
    return {"val_accuracy": accuracy, "latency_ms": {"here": {"mean": mean, "source": source}}}


def student(folder=None, *points, **profiles):
    known = {name: {"runtime": runtime, "device": "cpu", "threads": 1} for name, runtime in profiles.items()}
    return run.Student(folder, ("a", "b"), 1, 8, {}, points, known, {}, {})


@pytest.mark.parametrize("seed", range(40))
def test_a_budget_takes_the_most_accurate_point_that_fits(seed):
    rng = np.random.default_rng(seed)
    values = [(float(rng.choice([0.5, 0.75, 0.9])), int(rng.integers(1, 10))) for _ in range(rng.integers(1, 9))]
    points, budget = [point(*value) for value in values], int(rng.integers(0, 11))
    fitting = [value for value in values if value[1] <= budget]
    if not fitting:
        least = min(mean for _, mean in values)
        with pytest.raises(run.RunError, match=f"keeps {budget} ms on here: the cheapest takes {least} ms"):
            run.within_budget(student(None, *points), budget, "here")
        return
    found = run.within_budget(student(None, *points), budget, "here")
    accuracy = max(value[0] for value in fitting)
    assert found["val_accuracy"] == accuracy
    assert found["latency_ms"]["here"]["mean"] == min(mean for a, mean in fitting if a == accuracy)


def test_a_budget_needs_latencies():
    with pytest.raises(run.RunError, match="not timed on 'there'"):
        run.within_budget(student(None, point(0.5, 1)), 1, "there")


def test_profiles_that_cannot_be_kept_here_are_not_promised(monkeypatch):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    found = student(None, phone="ncnn", server="onnxruntime", edge="onnxruntime")
    found.profiles["gpu"] = {"runtime": "onnxruntime", "device": "cuda", "threads": 1}
    assert run.usable_profiles(found) == ["server", "edge"]
    assert run.choose_profile(found, None) == "server"
    assert run.choose_profile(found, "edge") == "edge"
    have = "for ONNX Runtime with CPUExecutionProvider it has server, edge"
    with pytest.raises(run.RunError, match=rf"'phone' is for ncnn on cpu, which run\.py cannot keep here; {have}"):
        run.choose_profile(found, "phone")
    with pytest.raises(run.RunError, match="'gpu' is for onnxruntime on cuda, which"):
        run.choose_profile(found, "gpu")
    with pytest.raises(run.RunError, match=f"the student has no profile 'moon'; {have}"):
        run.choose_profile(found, "moon")
    with pytest.raises(run.RunError, match=r"the student has no profile; for ONNX .* it has none"):
        run.choose_profile(student(None, phone="ncnn"), None)


def test_a_batch_is_routed_as_the_network_routes(tmp_path):
    network = build(small_arch("mobilenet", ("gap", "erde", "conv")))
    thresholds = medians(network, IMAGES)
    logits = all_logits(network, IMAGES)
    levels = [*thresholds, np.inf]
    entropy = entropies(logits)
    expected = [next(i for i in range(3) if entropy[i, n] < levels[i]) for n in range(len(IMAGES))]
    *early, last = export_segments(network)
    segments = [*(with_score(segment, number, ENTROPY) for number, segment in enumerate(early)), last]
    sessions = [run.open_session(segment.SerializeToString()) for segment in segments]
    found, taken = run.run_batch(sessions, IMAGES, thresholds)
    assert taken.tolist() == expected
    assert set(expected) == {0, 1, 2}
    np.testing.assert_allclose(found, logits[expected, np.arange(len(IMAGES))], atol=1e-4)
    alone, exit_index = run.run_batch(sessions, IMAGES[:1], [np.inf, np.inf])
    assert exit_index.tolist() == [0]
    np.testing.assert_allclose(alone, logits[0, :1], atol=1e-4)


def write(folder, **changes):
    described = {
        "schema": 1, "classes": ["a"], "input": {"channels": 1, "size": 8}, "trade_offs": [],
        "default": {"model": "model.onnx", "thresholds": []},
        "profiles": {}, "models": {}, "files": {"model.onnx": {"sha256": "0" * 64}},
    }  # fmt: skip
    (folder / "student.json").write_text(json.dumps({**described, **changes}))


def test_damaged_bundles(tmp_path):
    with pytest.raises(run.RunError, match=r"student\.json cannot be read \(No such file"):
        run.load_student(tmp_path)
    for text in ("", "[]", "{}", '{"schema": 1}'):
        (tmp_path / "student.json").write_text(text)
        with pytest.raises(run.RunError, match=r"student\.json does not describe an exported student"):
            run.load_student(tmp_path)
    write(tmp_path, schema=2)
    with pytest.raises(run.RunError, match=r"student\.json has schema 2, but this run\.py reads 1"):
        run.load_student(tmp_path)
    write(tmp_path)
    found = run.load_student(tmp_path)
    with pytest.raises(run.RunError, match=r"model\.onnx is missing; export the student again"):
        found.read("model.onnx")
    (tmp_path / "model.onnx").write_bytes(b"other")
    with pytest.raises(run.RunError, match=r"model\.onnx is not the file that student\.json describes"):
        found.read("model.onnx")


def test_a_model_that_cannot_be_run_here():
    with pytest.raises(run.RunError, match=r"onnxruntime [\d.]+ cannot run the model here: "):
        run.open_session(b"no model")
    with pytest.raises(run.RunError, match="no CUDAExecutionProvider here"):
        run.open_session(onnx.ModelProto().SerializeToString(), device="cuda")


NEEDS = ["avx512_vnni", "avx_vnni", "amx_int8", "asimd", "neon"]


def on(monkeypatch, machine, cpuinfo):
    """As on another CPU; without `cpuinfo`, on a system that has no such file."""
    read = Path.read_text

    def pretended(path, *args, **options):
        if str(path) != "/proc/cpuinfo":
            return read(path, *args, **options)
        if cpuinfo is None:
            raise FileNotFoundError(path)
        return cpuinfo

    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(Path, "read_text", pretended)


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "fits"),
    [
        ("x86_64", "model name: avx_vnni\nflags\t\t: fpu avx2 avx512f avx512_bf16\n", False),
        ("x86_64", "flags : avx2 avx512_vnni\n\nflags : avx2 avx512_vnni\n", True),
        ("x86_64", "flags : avx2 avx_vnni\n", True),
        ("AMD64", None, False),  # Windows does not say
        ("aarch64", "Features : fp asimd\n", True),
        ("arm64", None, True),  # macOS
        ("armv7l", "Features : half neon\n", True),
        ("armv6l", "Features : half vfp\n", False),
        ("riscv64", "isa : rv64\n", False),
    ],
)
def test_a_cpu_that_would_cut_off_sums_is_known(monkeypatch, machine, cpuinfo, fits):
    on(monkeypatch, machine, cpuinfo)
    said = run.missing(NEEDS)
    assert (said == "") is fits
    assert run.missing([]) == ""  # 7-bit weights, and fp32
    if said:
        assert all(name in said for name in NEEDS)
        assert "\n" not in said


@pytest.mark.parametrize("words", [(), ("--batch", "2")])
@pytest.mark.parametrize(("flags", "lines"), [("avx2", 1), ("avx2 avx_vnni", 0)])
def test_a_file_for_other_cpus_says_so_once_and_answers_right(tmp_path, monkeypatch, capsys, words, flags, lines):
    segments = export_segments(build(small_arch("vgg", ("gap", "gap"), width=16)))
    made = quantize_segments(segments, IMAGES, Quantization(weight_bits=8))
    files = {"model.int8.onnx": nest(made, [0.5]), "0.onnx": with_score(made[0], 0, ENTROPY), "1.onnx": made[1]}
    for name, model in files.items():
        onnx.save(model, tmp_path / name)
    model = {"segments": ["0.onnx", "1.onnx"], "instructions": NEEDS}
    described = {name: {"sha256": hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()} for name in files}
    default = {"model": "model.int8.onnx", "thresholds": [0.0]}
    classes = [str(i) for i in range(10)]
    write(tmp_path, classes=classes, default=default, models={"model.int8.onnx": model}, files=described)
    for number in range(3):
        Image.fromarray(IMAGES[number, 0]).save(tmp_path / f"{number}.png")
    on(monkeypatch, "x86_64", f"flags : {flags}\n")
    assert run.main([str(tmp_path / f"{i}.png") for i in range(3)] + ["--json", *words], tmp_path) == 0
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == lines
    assert ("model.int8.onnx" in err and "8-bit weights" in err) is bool(lines)
    if lines:  # then its sums are exact, on whatever CPU this is
        exact = run_segments([segment.SerializeToString() for segment in made], IMAGES[:3], exact=True)
        np.testing.assert_allclose([row["logits"] for row in json.loads(out)], exact[-1], atol=1e-5)


@pytest.mark.parametrize("pillow", [True, False])
def test_an_unreadable_file_is_named(pillow, tmp_path, monkeypatch):
    if not pillow:
        monkeypatch.setitem(sys.modules, "PIL", None)
    for name, reason in (("gone.png", "No such file or directory"), ("folder.png", "Is a directory")):
        (tmp_path / "folder.png").mkdir(exist_ok=True)
        with pytest.raises(run.RunError, match=rf"{name}: cannot be read \({reason}\); make it readable"):
            run.read_image(tmp_path / name, 1, 8)
