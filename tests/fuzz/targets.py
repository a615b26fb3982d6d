"""Every kind of file that is read, and what is done with what was read. A target takes the bytes of one file and raises
nothing but the errors that a user is told."""

import io
import json
import sqlite3
import warnings
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from tests.fuzz.mutations import changed_bytes, changed_json, changed_value

HERE = Path(__file__).parent
Inputs = st.SearchStrategy[bytes]


@dataclass(frozen=True)
class Target:
    """`inputs()` are the strategy of its files, `read(data, folder)` reads one in an empty folder."""

    name: str
    inputs: Callable[[], Inputs]
    read: Callable[[bytes, Path], object]


# ------------------------------------------------------------------------------------------------------- data sets


def _digits(count: int = 12) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8), np.arange(count) % 10


def _mat() -> Inputs:
    from scipy.io import savemat

    images, labels = _digits()
    content = {"X": images.transpose(2, 3, 1, 0), "y": (labels + 1)[:, None].astype(np.uint8)}
    seeds = []
    for packed in (False, True):
        buffer = io.BytesIO()
        savemat(buffer, content, do_compression=packed)
        seeds.append(buffer.getvalue())
    return changed_bytes(tuple(seeds))


def _read_mat(data: bytes, folder: Path) -> object:
    from erde_nas.data.svhn import read_svhn
    from erde_nas.recipe.images import DatasetSection

    for part in ("train", "test"):
        (folder / f"{part}_32x32.mat").write_bytes(data)
    return read_svhn(DatasetSection(name="svhn"), folder)


def _npz() -> Inputs:
    images, labels = _digits()
    seeds = []
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        save(buffer, images=images, labels=labels)
        seeds.append(buffer.getvalue())
    return changed_bytes(tuple(seeds))


def _read_npz(data: bytes, folder: Path) -> object:
    from erde_nas.data.npz import read_npz
    from erde_nas.recipe.images import DatasetSection

    (folder / "a.npz").write_bytes(data)
    return read_npz(DatasetSection(name="npz", path="a.npz"), folder)


def _idx() -> Inputs:
    import gzip
    import struct

    images, _ = _digits()
    plain = bytes((0, 0, 8, 3)) + struct.pack(">3I", 12, 28, 28) + images[:, 0, :28, :28].tobytes()
    return changed_bytes((gzip.compress(plain), gzip.compress(plain[:16])))


def _read_idx(data: bytes, folder: Path) -> object:
    from erde_nas.data.fashion_mnist import read_fashion_mnist
    from erde_nas.recipe.images import DatasetSection

    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(data)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(
            bytes((0, 0, 8, 1, 0, 0, 0, 12)) + bytes(range(10)) + bytes(2)
        )
    return read_fashion_mnist(DatasetSection(name="fashion-mnist"), folder)


def _cifar() -> Inputs:
    images, labels = _digits(3)
    return changed_bytes((b"".join(bytes([y]) + x.tobytes() for x, y in zip(images, labels, strict=True)),))


def _read_cifar(data: bytes, folder: Path) -> object:
    from erde_nas.data.cifar import read_cifar10
    from erde_nas.recipe.images import DatasetSection

    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        (folder / name).write_bytes(data)
    return read_cifar10(DatasetSection(name="cifar10"), folder)


def _pictures() -> Inputs:
    images, _ = _digits(1)
    seeds = []
    for form in ("png", "jpeg", "gif", "bmp", "tiff", "webp", "ppm", "tga"):
        buffer = io.BytesIO()
        Image.fromarray(images[0].transpose(1, 2, 0)).save(buffer, form)
        seeds.append(buffer.getvalue())
    return changed_bytes(tuple(seeds))


def _read_picture(data: bytes, folder: Path) -> object:
    from erde_nas.data.images import is_grayscale, read_image

    path = folder / "a.png"
    path.write_bytes(data)
    is_grayscale(path)
    return read_image(path, channels=3, size=(16, 16))


def _plain_png() -> Inputs:
    images, _ = _digits(1)
    seeds = []
    for mode in ("L", "RGB", "RGBA", "P", "1", "LA"):
        buffer = io.BytesIO()
        Image.fromarray(images[0].transpose(1, 2, 0)).convert(mode).save(buffer, "png")
        seeds.append(buffer.getvalue())
    return changed_bytes(tuple(seeds))


def _read_plain_png(data: bytes, folder: Path) -> object:
    from erde_nas.device import bundle_runner

    path = folder / "a.png"
    path.write_bytes(data)
    return bundle_runner._decode_without_pillow(path, 3, (32, 32), False)


def _npy() -> Inputs:
    buffer = io.BytesIO()
    np.save(buffer, _digits(1)[0][0])
    return changed_bytes((buffer.getvalue(),))


def _read_npy(data: bytes, folder: Path) -> object:
    from erde_nas.device import bundle_runner

    path = folder / "a.npy"
    path.write_bytes(data)
    return bundle_runner.read_image(path, 3, 32)


# --------------------------------------------------------------------------------------------------- the run folder


def _json(name: str) -> Any:
    return json.loads((HERE / name).read_text())


def _manifest() -> Inputs:
    return changed_json(_json("manifest.json"))


def _read_manifest(data: bytes, folder: Path) -> object:
    from erde_nas.recipe.recipe import load_recipe
    from erde_nas.recipe.shipped import find
    from erde_nas.run.folder import discard_empty, existing_run
    from erde_nas.run.manifest import is_run, write_manifest

    (folder / "manifest.json").write_bytes(data)
    (folder / "recipe.yaml").write_text("name: x\n")
    for place in ("students", "profiles"):
        (folder / place).mkdir()
    for name in ("cpu-1thread", "cpu-1thread-int8"):
        (folder / "profiles" / f"{name}.yaml").write_text(f"name: {name}\n")
    is_run(folder)
    discard_empty(folder, load_recipe(find("search", "digits")), [], {"dataset": "another"})
    store = existing_run(folder)
    store.seconds()
    write_manifest(folder, store.manifest())
    return store.profiles()


def _report() -> Inputs:
    return changed_json(_json("pareto.json"))


def _read_report(data: bytes, folder: Path) -> object:
    from erde_nas.api.run import load_run
    from erde_nas.report.build import pareto_csv
    from erde_nas.report.markdown import markdown
    from erde_nas.report_data.report_file import report_json

    (folder / "pareto.json").write_bytes(data)
    run = load_run(folder)
    texts = [str(run), markdown(run.results), pareto_csv(run.results), report_json(run.results)]
    for name in run.results.fronts:
        texts.append(str(run.front(name)))
    return texts, run.best(next(iter(run.results.profiles), None), max_drop=1)


def _read_page(data: bytes, folder: Path) -> object:
    from erde_nas.report.page import page
    from erde_nas.report.plots import front_png
    from erde_nas.report_data.report_file import read_report

    (folder / "pareto.json").write_bytes(data)
    report = read_report(folder)
    return page(report), front_png(report)


def _measured() -> Inputs:
    report = _json("pareto.json")
    kept = {key: report[key] for key in ("teacher", "baselines", "points", "unmeasured", "left_out", "screened")}
    return changed_json({"students": sorted({point["student"] for point in report["points"]}), **kept})


@cache
def _profiles() -> tuple[Any, ...]:
    from erde_nas.recipe.profile import HardwareProfile

    return tuple(HardwareProfile(name=name) for name in ("cpu-1thread", "cpu-1thread-int8"))


def _read_measured(data: bytes, folder: Path) -> object:
    from erde_nas.report_data.report import SCHEMA, DatasetFacts, Report
    from erde_nas.report_data.report_file import report_json
    from erde_nas.results.build_report import _baselines
    from erde_nas.results.measured_file import read_measured
    from erde_nas.results.offers import front_hypervolumes, offer

    (folder / "measured.json").write_bytes(data)
    found, profiles = read_measured(SimpleNamespace(folder=folder)), _profiles()
    points, fronts = offer(found.points, profiles, {})
    volumes = {} if found.teacher is None else front_hypervolumes(points, fronts, found.teacher, profiles)
    report = Report(
        SCHEMA,
        ("error",),
        DatasetFacts("d", ("a",), 1, 1, 1),
        found.teacher,
        _baselines(found.baselines, points),
        tuple(points),
        volumes,
        fronts={name: tuple(front) for name, front in fronts.items()},
        screened=found.screened,
        unmeasured=found.unmeasured,
        left_out=found.left_out,
    )
    return report_json(report)


@cache
def _timing() -> tuple[Any, ...]:
    from erde_nas.measurement.latency import Workload
    from erde_nas.measurement.statistics import Stream, Timing
    from erde_nas.onnx_files.deployable import DeployableFile

    stream = Stream(1.5, 1.4, 2.0, 2.1, (0.5, 0.5), 0.01, interval=(1.4, 1.6))
    timings = {"a": Timing((1.0, 2.0), 0.1, (stream,), ((1.0, 2.0),), ((1.5,),), versions="r 1", memory_bytes=9)}
    brief = {"a": Timing((1.0, 2.0), 0.1, ())}
    quick = Workload("a", DeployableFile(Path("a.onnx")), 2)
    return timings, brief, quick, Workload("a", DeployableFile(Path("a.onnx")), 2, ((0.5,),))


def _timings() -> Inputs:
    timings, brief, _, _ = _timing()
    content = {
        "files": ["a"],
        "brief": {"one": {key: asdict(found) for key, found in brief.items()}},
        "full": {"one x": {key: asdict(found) for key, found in timings.items()}},
    }
    return changed_json(content)


def _read_timings(data: bytes, folder: Path) -> object:
    from erde_nas.measurement.latency import latency_record
    from erde_nas.results.timings import FinalTimings

    timings, brief, quick, full = _timing()
    (folder / "timings.json").write_bytes(data)
    found, profile = FinalTimings(folder, again=False), _profiles()[0]
    found.open([quick])
    found.time_quickly("one", [profile], lambda: brief)
    used = [*found.quick.values(), *found.time_fully("one x", [profile], [full], lambda: timings).values()]
    found.close()
    for timing in used:
        for stream in (None, *range(len(timing.streams))):
            json.dumps(asdict(latency_record(timing, stream, (0.5, 0.5), profile)), allow_nan=False)
    return used


def _metrics() -> Inputs:
    judged = {"val_accuracy": 0.5, "thresholds": [0.5], "exit_fractions": [0.5, 0.5], "val_exit_accuracy": [0.4, 0.6]}
    arch = _arch_value()
    searched = {
        **{"arch": arch, "latency_per_exit_ms": {"cpu-1thread": [0.1, 0.2]}, "seconds": 2.0, **judged, "macs": 5.0},
        **{"macs_per_exit": [4, 6], "params": 9, "size_bytes": 99, "latency_ms": {"cpu-1thread": 0.2}},
        "curve": [[0.5, 0.1]],
    }
    rung = {"epochs": 2, "val_accuracy": 0.5, "objectives": [0.5, 0.1], "curve": [[0.5, 0.1]]}
    return changed_json({"stage": "finished", "searched": searched, "rungs": [rung], "used_exits": [0]})


def _read_metrics(data: bytes, folder: Path) -> object:
    from erde_nas.run.students import read_student, write_student

    (folder / "metrics.json").write_bytes(data)
    record = read_student(folder)
    assert record is not None
    write_student(folder, record)
    return record.searched.arch.id if record.searched else None


def _small() -> Any:
    from tests.networks.builders import small_arch

    return small_arch("resnet", ("gap", "gap"))


@cache
def _arch_value() -> Any:
    return _small().to_dict()


def _arch() -> Inputs:
    return changed_json(_arch_value())


@cache
def _weights() -> bytes:
    import torch
    from safetensors.torch import save

    from tests.networks.builders import build

    with torch.no_grad():
        return save({name: x.contiguous() for name, x in build(_small()).state_dict().items()})


def _read_arch(data: bytes, folder: Path) -> object:
    from erde_nas.networks.weights import load_deployed
    from erde_nas.space.findings import read_arch

    (folder / "arch.json").write_bytes(data)
    (folder / "weights.safetensors").write_bytes(_weights())
    load_deployed(folder / "weights.safetensors")
    return read_arch(folder / "arch.json")


def _safetensors() -> Inputs:
    return changed_bytes((_weights(),))


def _read_safetensors(data: bytes, folder: Path) -> object:
    from erde_nas.networks.weights import load_network

    (folder / "arch.json").write_text(json.dumps(_arch_value()))
    (folder / "weights.safetensors").write_bytes(data)
    return load_network(folder / "weights.safetensors")


def _study() -> Inputs:
    """The bytes of the database, or one of the texts in it."""
    return st.one_of(changed_bytes((_study_bytes(),)), _study_texts())


@cache
def _study_bytes() -> bytes:
    import tempfile

    from erde_nas.run.studies.local import LocalStudy
    from erde_nas.space.trial import Trial

    space = SimpleNamespace(parameters={"family": ("resnet", "vgg"), "depth": (1, 2)})
    with tempfile.TemporaryDirectory() as name:
        study = LocalStudy(Path(name) / "study.db", ("error", "macs"), space)
        for number, state in enumerate(("complete", "complete", "failed")):
            params = {"family": "resnet", "depth": 1 + number % 2}
            objectives = (0.5, 1.0 + number) if state == "complete" else ()
            study.add(Trial(number, f"s{number}", params, state, objectives, (0.0,), None, {"parent": 1}, "why"))
        study.close()
        del study
        return (Path(name) / "study.db").read_bytes()


@st.composite
def _study_texts(draw: st.DrawFn) -> bytes:
    """The database with another JSON value as an attribute, or another value in a column of a table of Optuna's."""
    with closing(sqlite3.connect(":memory:")) as base:
        base.deserialize(_study_bytes())
        if draw(st.booleans()):
            rows = base.execute("SELECT trial_user_attribute_id, value_json FROM trial_user_attributes").fetchall()
            key, text = draw(st.sampled_from(rows))
            found = draw(changed_value(json.loads(text)))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                new = json.dumps(found).replace('"LONG"', "1" * 5000)
            base.execute(
                "UPDATE trial_user_attributes SET value_json = ? WHERE trial_user_attribute_id = ?", (new, key)
            )
        else:
            table, column = draw(
                st.sampled_from(
                    [
                        *(("trial_values", c) for c in ("value", "objective", "value_type", "trial_id")),
                        *(("trial_params", c) for c in ("param_value", "distribution_json", "param_name")),
                        *(("trials", c) for c in ("state", "number", "study_id", "datetime_start")),
                        *(
                            ("studies", "study_name"),
                            ("study_directions", "direction"),
                            ("version_info", "schema_version"),
                        ),
                        ("alembic_version", "version_num"),
                    ]
                )
            )
            value = draw(st.sampled_from((None, "", "text", -1, 0, 10**18, 1e308, float("inf"), "{}", "[1", b"\xff")))
            try:
                base.execute(f"UPDATE {table} SET {column} = ?", (value,))
            except sqlite3.Error:
                base.execute(f"DELETE FROM {table}")
        base.commit()
        return base.serialize()


def _read_study(data: bytes, folder: Path) -> object:
    from erde_nas.run.studies.local import LocalStudy
    from erde_nas.space.trial import Trial

    (folder / "study.db").write_bytes(data)
    space = SimpleNamespace(parameters={"family": ("resnet", "vgg"), "depth": (1, 2)})
    study = LocalStudy(folder / "study.db", ("error", "macs"), space)
    try:
        found = study.trials()
        [trial.points for trial in found if trial.state == "complete"]
        study.add(Trial(9, "new", {"family": "vgg", "depth": 1}, "complete", (0.1, 0.2)))
        return study.trials()
    finally:
        study.close()


# ---------------------------------------------------------------------------------------------------- device answers


@cache
def _job() -> Any:
    from erde_nas.device.agent.job import Job, Timed

    return Job(
        runtime="onnxruntime",
        threads=1,
        device="cpu",
        provider=None,
        batch_size=1,
        images="images.npy",
        calls=2,
        reference=(),
        reference_shape=(1, 16, 16),
        warmup_calls=1,
        calls_per_block=1,
        blocks=2,
        passes=1,
        memory=True,
        answers=1,
        models=(Timed("a", "fp32", (), 2, ((0.5,),)),),
    )


def _answer() -> Inputs:
    from erde_nas.device.agent.job import Answer, Disturbance, Interruptions, PeakMemory, StreamTimes, Times

    logits = "AAAAAAAAgD8AAABAAABAQA=="
    stream = StreamTimes(((1.5, 2.5),), (0, 1), 0.1)
    times = Times(((2.0, 2.1), (3.0, 3.1)), (stream,), Interruptions(9, 0), PeakMemory(5, 9), logits)
    found = Answer({"r": "1"}, Disturbance(2, 1.0, 0.0, (1.0, 2.0)), (1.0, 1.1), {"a": times})
    failure = {"error": "runtime", "text": "no"}
    return st.one_of(
        _one_line(changed_value(asdict(found))),
        _one_line(changed_value(failure)),
        changed_bytes((_line(asdict(found)),)),
    )


def _line(value: Any) -> bytes:
    return b"\n" + json.dumps(value).replace('"LONG"', "1" * 5000).encode("utf-8", "surrogatepass") + b"\n"


def _one_line(values: st.SearchStrategy[Any]) -> Inputs:
    return values.map(_line)


class _Connection:
    """Answers a command as the shell there would."""

    folder = "/tmp/there"

    def __init__(self, out: bytes) -> None:
        self._out = out

    def run(self, text: str, *words: str, **how: Any) -> Any:
        from erde_nas.measurement.ssh import Answer
        from erde_nas.measurement.ssh_device import SEND

        return Answer(0, b"" if text == SEND else self._out, "said")

    def close(self) -> None:
        pass


def _device(data: bytes) -> Any:
    from erde_nas.measurement.ssh_device import Device

    device = Device("ssh:device", "python3")
    device._connection = _Connection(data)  # type: ignore[assignment]
    return device


def _read_answer(data: bytes, folder: Path) -> object:
    from erde_nas.measurement.agreement import disagreement
    from erde_nas.measurement.latency import latency_record
    from erde_nas.measurement.statistics import contention_text, narrow, pool
    from erde_nas.measurement.target import _checked

    job, device = _job(), _device(data)
    job.write(folder)
    answer = _checked(lambda: device.run(folder, 1), job, "ssh:device")
    times = answer.models["a"]
    timing = pool([times] * 6, float(np.median(answer.reference_ms)), 1, 2)
    narrow([times] * 6, 0.1)
    contention_text([answer.contention])
    disagreement(times.logits, np.zeros((2, 1, 2), np.float32), "fp32")
    json.dumps(asdict(timing), allow_nan=False)
    return [latency_record(timing, number, (0.5, 0.5), _profiles()[0]) for number in (None, 0)]


def _machine() -> Inputs:
    from erde_nas.device.machine import Machine

    found = Machine("Linux", "x86_64", "cpu", 2, 1, 9, ("avx2",), ("gpu",), (("r", "1"),), ("CPUExecutionProvider",))
    return st.one_of(_one_line(changed_value(asdict(found))), changed_bytes((_line(asdict(found)),)))


def _read_machine(data: bytes, folder: Path) -> object:
    from erde_nas.measurement.detect import mismatch
    from erde_nas.report_data.json_records import to_json

    machine = _device(data).describe()
    to_json(machine)
    return [mismatch(profile, machine) for profile in _profiles()]


def _job_file() -> Inputs:
    return changed_json(asdict(_job()))


def _read_job(data: bytes, folder: Path) -> object:
    from erde_nas.device.agent.job import read_job

    (folder / "job.json").write_bytes(data)
    return read_job(folder)


# -------------------------------------------------------------------------------------------------------- ONNX files


@cache
def _student() -> bytes:
    import tempfile

    from tests.networks.builders import build, write_onnx

    with tempfile.TemporaryDirectory() as name:
        network = build(_small())
        return write_onnx(network, [0.5] * (len(_small().exits) - 1), Path(name) / "m.onnx").read_bytes()


@cache
def _noted() -> bytes:
    import onnx

    model = onnx.load_from_string(_student())
    notes = {"classes": "\n".join("abcdefghij"), "exit_fractions": "0.5 0.5", "precision": "fp32"}
    known = {entry.key for entry in model.metadata_props}
    for key, value in notes.items():
        if key not in known:
            model.metadata_props.add(key=key, value=value)
    return model.SerializeToString()


def _models() -> Inputs:
    return changed_bytes((_noted(),))


def _read_predict(data: bytes, folder: Path) -> object:
    from erde_nas.api.predict import predict

    (folder / "m.onnx").write_bytes(data)
    side = _arch_value()["image_size"]
    channels = _arch_value()["in_channels"]
    Image.fromarray(_digits(1)[0][0, 0, :side, :side]).convert({1: "L", 3: "RGB"}[channels]).save(folder / "a.png")
    return str(predict(folder / "m.onnx", [folder / "a.png"], say=lambda text: None))


def _foreign() -> Inputs:
    import tempfile

    from tests.measurement.foreign_files import write

    seeds = [_noted()]
    with tempfile.TemporaryDirectory() as name:
        for kind in ("fixed reshape", "static qdq", "open size"):
            try:
                seeds.append(write(kind, Path(name)).read_bytes())
            except (KeyError, ValueError):
                continue
    return changed_bytes(tuple(seeds))


def _read_foreign(data: bytes, folder: Path) -> object:
    from erde_nas.measurement.given_file import read_given_file, read_images

    (folder / "m.onnx").write_bytes(data)
    (folder / "work").mkdir()
    found = read_given_file(folder / "m.onnx", folder / "work")
    images = read_images(None, found.metadata.image_shape, 4)
    workload = found.workload(_profiles()[0], images[:4], stream=False)
    found.remarks_for(_profiles()[0])
    return workload.expected


def _bundle() -> Inputs:
    point = {
        "model": "model.onnx",
        "thresholds": [0.5],
        "val_accuracy": 0.5,
        "latency_ms": {"p": {"mean": 1.0, "source": "m"}},
    }
    content = {
        **{"schema": 1, "classes": list("abcdefghij"), "input": {"channels": 1, "size": 8}, "default": point},
        **{"trade_offs": [point], "profiles": {"p": {"runtime": "onnxruntime", "device": "cpu", "threads": 1}}},
        **{"models": {"model.onnx": {"segments": ["s.onnx"], "instructions": []}}},
        "files": {"model.onnx": {"sha256": "SHA", "bytes": 1}},
    }
    return changed_json(content)


def _read_bundle(data: bytes, folder: Path) -> object:
    import contextlib
    import hashlib

    from erde_nas.device import bundle_runner

    (folder / "model.onnx").write_bytes(_noted())
    sha = hashlib.sha256(_noted()).hexdigest()
    (folder / "student.json").write_bytes(data.replace(b'"SHA"', f'"{sha}"'.encode()))
    Image.fromarray(_digits(1)[0][0, 0, :8, :8]).save(folder / "a.png")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        code = bundle_runner.main([str(folder / "a.png"), "--budget-ms", "5"], folder)
    assert code in (0, 2), code
    assert "Traceback" not in said.getvalue()
    return code


# ---------------------------------------------------------------------------------------------------------- the YAML


def _recipe() -> Inputs:
    import yaml

    from erde_nas.recipe.shipped import shipped

    texts = tuple(path.read_bytes() for path in shipped("search").values())
    values = st.sampled_from(texts).flatmap(lambda text: changed_value(yaml.safe_load(text)))
    return st.one_of(changed_bytes(texts), values.map(_yaml))


def _yaml(value: Any) -> bytes:
    """JSON is YAML; what it does not know, our reader takes for texts."""
    return json.dumps(value).replace('"LONG"', "1" * 5000).encode("utf-8", "surrogatepass")


def _read_recipe(data: bytes, folder: Path) -> object:
    from erde_nas.api.inputs import changed
    from erde_nas.recipe.network import student_arch
    from erde_nas.recipe.recipe import load_recipe
    from erde_nas.space.space import Space

    (folder / "r.yaml").write_bytes(data)
    recipe = changed(load_recipe(folder / "r.yaml"), epochs_scale=0.5)
    recipe.model_dump(mode="json")
    student_arch(recipe.teacher, (3, 32, 32), 10)
    return Space(recipe.space, (3, 32, 32), 10).parameters


def _profile() -> Inputs:
    import yaml

    from erde_nas.recipe.shipped import shipped

    texts = tuple(path.read_bytes() for path in shipped("profiles").values())
    values = st.sampled_from(texts).flatmap(lambda text: changed_value(yaml.safe_load(text)))
    return st.one_of(changed_bytes(texts), values.map(_yaml))


def _read_profile(data: bytes, folder: Path) -> object:
    from erde_nas.device.machine import describe_machine
    from erde_nas.measurement.detect import mismatch
    from erde_nas.recipe.profile import load_profile

    (folder / "p.yaml").write_bytes(data)
    return mismatch(load_profile(folder / "p.yaml"), _here(describe_machine))


@cache
def _here(describe: Callable[[], Any]) -> Any:
    return describe()


TARGETS = {
    target.name: target
    for target in (
        Target("mat", _mat, _read_mat),
        Target("npz", _npz, _read_npz),
        Target("idx", _idx, _read_idx),
        Target("cifar", _cifar, _read_cifar),
        Target("pictures", _pictures, _read_picture),
        Target("png-without-pillow", _plain_png, _read_plain_png),
        Target("npy", _npy, _read_npy),
        Target("manifest.json", _manifest, _read_manifest),
        Target("pareto.json", _report, _read_report),
        Target("page", _report, _read_page),
        Target("measured.json", _measured, _read_measured),
        Target("timings.json", _timings, _read_timings),
        Target("metrics.json", _metrics, _read_metrics),
        Target("arch.json", _arch, _read_arch),
        Target("safetensors", _safetensors, _read_safetensors),
        Target("study.db", _study, _read_study),
        Target("ssh-answer", _answer, _read_answer),
        Target("ssh-machine", _machine, _read_machine),
        Target("job.json", _job_file, _read_job),
        Target("predict", _models, _read_predict),
        Target("profile", _foreign, _read_foreign),
        Target("student.json", _bundle, _read_bundle),
        Target("recipe.yaml", _recipe, _read_recipe),
        Target("profile.yaml", _profile, _read_profile),
    )
}
