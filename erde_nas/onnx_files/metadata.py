"""What the metadata of a deployable say: written at export, read here."""

from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import ModelProto

from erde_nas.device.exit_rules import ENTROPY
from erde_nas.device.instructions import EXACT_INT8
from erde_nas.errors import UserError
from erde_nas.files import problem, read_json
from erde_nas.onnx_files.nest import exit_rule_of, made_here, split, thresholds_of

NOTES = {"classes", "exit_fractions", "precision"}  # in the metadata of every exported student
MOST_PIXELS = 65_536
PRECISIONS = ("fp32", "bf16", "int8")
LFS = b"version https://git-lfs"  # how its pointers begin


@dataclass(frozen=True)
class Metadata:
    """What is known of a deployable. `image_shape` is (channels, h, w), thresholds are those of the exit rule's score;
    a baseline has none."""

    classes: tuple[str, ...]
    image_shape: tuple[int, ...]
    thresholds: tuple[float, ...]
    exit_fractions: tuple[float, ...]  # on validation
    precision: str
    instructions: tuple[str, ...] = ()  # one of which a CPU must have for its accuracy; none: any CPU will do
    exit_rule: str = ENTROPY.name


def made_by_export(model: ModelProto) -> bool:
    """Whether its metadata say that erde-nas exported it. Other files may have an `If`, and nodes of any name."""
    return made_here(model) and {entry.key for entry in model.metadata_props} >= NOTES


def read_metadata(path: Path) -> Metadata:
    """Raises UserError for a file that is missing, damaged, or was not exported by erde-nas."""
    if path.is_dir():
        raise UserError(f"{path} is {what_folder(path)}")
    if not path.is_file():
        raise UserError(f"{path} does not exist; give a model.onnx of a run's student")
    try:
        model = onnx.load(path, load_external_data=False)  # an exported student has its weights in the file
        split(model)
    except Exception as error:  # protobuf and numpy raise many kinds where a file is damaged
        damaged = isinstance(error, DecodeError) or not path.stat().st_size
        reason = f"it is {what_file(path)}" if damaged else problem(error)
        raise UserError(
            f"{path} is not a student that erde-nas exported: {reason}; give a model.onnx of a run's student "
            "(`erde-nas profile` measures any classifier)"
        ) from error
    notes = {entry.key: entry.value for entry in model.metadata_props}
    if missing := NOTES - notes.keys():
        raise UserError(f"{path} lacks {', '.join(sorted(missing))} in its metadata; export the student again")
    try:
        return _of(model, notes)
    except Exception as error:
        raise UserError(f"{path} is damaged in its metadata: {problem(error)}; export the student again") from error


def _of(model: ModelProto, notes: dict[str, str]) -> Metadata:
    """Raises whatever protobuf and numpy do where these are damaged."""
    shape = tuple(d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim)[1:]
    instructions = notes.get("instructions", " ".join(EXACT_INT8) if notes["precision"] == "int8" else "")
    found = Metadata(
        tuple(notes["classes"].split("\n")),
        shape,
        thresholds_of(model),
        tuple(float(share) for share in notes["exit_fractions"].split()),
        notes["precision"],
        tuple(instructions.split()),
        exit_rule_of(model),
    )
    if len(shape) != 3 or not all(1 <= side <= MOST_PIXELS for side in shape):
        raise ValueError(f"its images are {shape}")
    if len(found.exit_fractions) != len(found.thresholds) + 1 or found.precision not in PRECISIONS:
        raise ValueError(f"{found.precision}, exit_fractions {found.exit_fractions}, thresholds {found.thresholds}")
    return found


def what_file(file: Path) -> str:
    """What a file is that cannot be read as a model."""
    if not file.stat().st_size:
        return "empty; copy or export it again"
    with file.open("rb") as stream:
        pointer = stream.read(len(LFS)) == LFS
    return "a pointer of Git LFS; fetch the file with `git lfs pull`" if pointer else "no ONNX file, or a damaged one"


def what_folder(folder: Path) -> str:
    """What a folder is in whose place a model file is wanted, and the file in it to give."""
    if (folder / "student.json").is_file():
        described = read_json(folder / "student.json")
        default = described.get("default") if isinstance(described, dict) else None
        model = str(default.get("model", "model.onnx")) if isinstance(default, dict) else "model.onnx"
        return f"the folder of an exported student; give its file: {folder / model}"
    files = sorted(folder.glob("students/*/*.onnx")) or sorted(folder.glob("*.onnx"))
    kind = "a run" if (folder / "manifest.json").is_file() else "a folder"
    if not files:
        return f"{kind} without a model file in it; give a model.onnx of a run's student"
    example = next((file for file in files if file.name == "model.onnx"), files[0])
    return f"{kind} with {len(files)} model file{'s' if len(files) > 1 else ''}; give one of them: {example}"
