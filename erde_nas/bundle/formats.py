"""Formats of a bundle besides ONNX: OpenVINO's IR, and ExecuTorch's programs of the segments.

Each is there where its extra is installed. The files are what a runtime prepares for one image at a time.
"""

import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from erde_nas.bundle.measured_student import MeasuredStudent
from erde_nas.device.runtimes import runtime
from erde_nas.device.runtimes.interface import Setting
from erde_nas.errors import UserError
from erde_nas.files import Scratch, read_json
from erde_nas.onnx_files.deployable import DeployableFile

Entries = dict[str, Any]


def write_openvino(student: MeasuredStudent, folder: Path) -> Entries:
    """Each nested file as IR: `openvino/NAME.xml` with its weights in `.bin`. It takes `image` and `thresholds`."""
    from erde_nas.device.runtimes.openvino import import_openvino, prepare

    openvino = import_openvino()
    (folder / "openvino").mkdir()
    entries = {}
    for name, path in student.files.items():
        target = folder / "openvino" / f"{Path(name).stem}.xml"
        with Scratch() as scratch:
            (adapted,) = prepare(DeployableFile(path), Setting(), Path(scratch))
            openvino.save_model(openvino.Core().read_model(adapted), target, compress_to_fp16=False)
        entries[f"openvino/{target.name}"] = _entry(student, name, "openvino-ir", "openvino")
    return entries


def write_executorch(student: MeasuredStudent, folder: Path) -> Entries:
    """The segments of the fp32 network for one image, lowered to XNNPACK: `executorch/model-N.pte`, logits first.

    What one takes besides the features of the one before stands in its name: `model-2.image.logits1.pte`.
    """
    from erde_nas.networks.weights import load_deployed

    name = next((name for name, exported in student.exported.items() if exported.precision == "fp32"), None)
    arch = read_json(student.folder / "arch.json")
    if name is None or None in arch.get("cascade", ()) or "program" in arch:
        return {}  # there is no such file, or a network of the user's own is in it, whose layers are not in the run
    deployable = DeployableFile(student.files[name], load_deployed(student.folder / "weights.safetensors"))
    (folder / "executorch").mkdir()
    with Scratch() as scratch:
        segments = runtime("executorch").prepare(deployable, Setting(), Path(scratch))
        names = ["executorch/" + path.name.replace("segment", "model-", 1) for path in segments]
        for path, target in zip(segments, names, strict=True):
            shutil.copyfile(path, folder / target)
    return {"executorch/model": {**_entry(student, name, "executorch", "executorch"), "segments": names}}


def _entry(student: MeasuredStudent, name: str, form: str, used: str) -> Entries:
    exported = student.exported[name]
    return {
        "format": form,
        "runtime": used,
        "precision": exported.precision,
        "thresholds": list(exported.thresholds),
        "made_from": name,
    }


EXTRA_FORMATS: dict[str, Callable[[MeasuredStudent, Path], Entries]] = {
    "openvino": write_openvino,
    "executorch": write_executorch,
}


def chosen_formats(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The formats besides ONNX to write: those named, or where none is named those that are installed.

    Raises UserError for an unknown format, or one whose extra is absent.
    """
    if not wanted:
        return tuple(name for name in EXTRA_FORMATS if find_spec(name) is not None)
    for name in wanted:
        if name not in (*EXTRA_FORMATS, "onnx"):
            raise UserError(f"--format must be onnx, {' or '.join(EXTRA_FORMATS)}, but got '{name}'")
        if name != "onnx" and find_spec(name) is None:
            raise UserError(f"--format {name} needs a package that is not installed: pip install 'erde-nas[{name}]'")
    return tuple(name for name in EXTRA_FORMATS if name in wanted)
