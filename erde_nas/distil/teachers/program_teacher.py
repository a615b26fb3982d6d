"""A loaded program and a data set -> a teacher, or the reason why it cannot be one."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from erde_nas.data.dataset import Dataset
from erde_nas.data.on_disk import read_pixels
from erde_nas.distil.teachers.normalisation import normalisation_of
from erde_nas.distil.teachers.wrapper import Answer, Arranged, Kind, ProgramTeacher
from erde_nas.errors import UserError
from erde_nas.networks.network import Normalize
from erde_nas.networks.programs.graph import last_operator
from erde_nas.networks.programs.program import EXPORT, TRIED, Loaded, Program, exit_order, line_of, settle, unsteady
from erde_nas.recipe.teacher import TeacherSection


def program_teacher(
    loaded: Loaded, section: TeacherSection, dataset: Dataset, path: Path, device: torch.device
) -> tuple[ProgramTeacher, tuple[str, ...]]:
    """The teacher in eval mode on `device`, and in words what was assumed of it.

    It is tried on a few training images. Raises UserError where it does not take them, answers differently when asked
    again, or gives nothing that can be logits of the data set's classes.
    """
    remarks = list(loaded.remarks)
    layout = _layout(loaded, dataset, path)
    if layout:
        remarks.append(f"it takes images as {LAYOUTS[layout]}")
    prepare = Arranged(_normalize(loaded, section, dataset, path, remarks), _dtype(loaded), layout).to(device)
    pixels = torch.from_numpy(read_pixels(dataset.train, np.arange(min(TRIED, len(dataset.train))))).to(device)
    images = prepare(pixels)
    try:
        program, found = settle(_on(loaded, device), images)
        outs = program(images)
    except Exception as error:
        shape = "×".join(map(str, pixels.shape[1:]))
        reason = _reason(error)
        raise UserError(
            f"teacher {path} cannot take {dataset.name}'s images of {shape}: {reason}; use one trained on such images, "
            f"or {EXPORT}"
        ) from error
    remarks += [found] if found else []
    _check_steady(program, images, outs, path)
    chosen = _logits(program, outs, dataset, path, remarks)
    kinds = tuple(_kind(program, outs[number], number, remarks) for number in chosen)
    order = class_order(section, dataset, path)
    answer = Answer(kinds, order).to(device)
    return ProgramTeacher(program.kept(chosen), dataset, prepare, answer).eval(), tuple(remarks)


LAYOUTS = {
    "channels last": "(height, width, channels)",
    "no channels": "(height, width)",
    "flat": "one row of numbers each",
}


def _layout(loaded: Loaded, dataset: Dataset, path: Path) -> str:
    """How the program's images differ from (channels, height, width); empty where they do not."""
    channels, height, width = dataset.train.images.shape[1:]
    for layout, shape in (
        ("", (channels, height, width)),
        ("channels last", (height, width, channels)),
        ("no channels", (height, width) if channels == 1 else ()),
        ("flat", (channels * height * width,)),
    ):
        fits = (own is None or own == size for own, size in zip(loaded.shape, shape, strict=False))
        if shape and len(shape) == len(loaded.shape) and all(fits):
            return layout
    own = "×".join("any" if size is None else str(size) for size in loaded.shape) or "no fixed shape"
    raise UserError(
        f"teacher {path} takes images of {own}, but {dataset.name}'s are {channels}×{height}×{width}; "
        "use one trained on those, or set dataset.image_size"
    )


def _dtype(loaded: Loaded) -> torch.dtype:
    return torch.float32 if loaded.dtype.is_floating_point else loaded.dtype


def _normalize(
    loaded: Loaded, section: TeacherSection, dataset: Dataset, path: Path, remarks: list[str]
) -> Normalize | None:
    """None: the program takes pixels as integers, so it normalises them itself."""
    own = normalisation_of(section, dataset)
    if loaded.dtype.is_floating_point:
        return Normalize(*(own or (dataset.mean, dataset.std)))
    if own is not None:
        raise UserError(
            f"teacher {path} takes pixels as {_name(loaded.dtype)}, so it normalises them itself; remove "
            "teacher.mean, teacher.std and teacher.normalisation"
        )
    remarks.append(f"it takes pixels 0..255 as {_name(loaded.dtype)}")
    return None


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _on(loaded: Loaded, device: torch.device) -> Loaded:
    loaded.program.to(device)
    return loaded


def _reason(error: Exception) -> str:
    """What went wrong inside; torch's interpreter puts where it was in front of it."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return line_of(Exception(str(cause)))


def _check_steady(program: Program, images: Tensor, outs: tuple[Tensor, ...], path: Path) -> None:
    """Raises UserError where the same images get other answers, when asked again or in other company."""
    if any(isinstance(out, Tensor) and not out.isfinite().all() for out in outs):
        return  # said elsewhere
    if why := unsteady(program, images, outs):
        raise UserError(f"teacher {path} {why}; call model.eval() first: {EXPORT}")


def _logits(program: Program, outs: tuple[Tensor, ...], dataset: Dataset, path: Path, remarks: list[str]) -> list[int]:
    """The outputs that can be logits, shallowest first."""
    wanted = len(dataset.classes)
    fit = [number for number in exit_order(program) if _is_answer(outs[number], wanted)]
    shapes = ", ".join(str(("images", *out.shape[1:])).replace("'", "") for out in outs)
    if not fit:
        raise UserError(
            f"teacher {path}: {dataset.name} has {wanted} classes, so it must give logits of shape "
            f"(images, {wanted}), but gives {shapes or 'no tensor'}; use one trained on {dataset.name}"
        )
    if left := [number for number in range(len(outs)) if number not in fit]:
        numbers = ", ".join(map(str, left))
        remarks.append(f"of its outputs {shapes}, counted from 0, {numbers} cannot be logits and are left out")
    if len(fit) > 1:
        order = ", ".join(map(str, fit))
        remarks.append(
            f"it has {len(fit)} exits; by the layers before them, shallowest first, they are outputs {order}"
        )
    return fit


def _is_answer(out: Tensor, classes: int) -> bool:
    return out.dim() >= 2 and out.shape[1] == classes and out[0].numel() == classes and out.dtype.is_floating_point


def _kind(program: Program, out: Tensor, number: int, remarks: list[str]) -> Kind:
    """What the numbers of one output are: by their sums on a few images, and by what they come from."""
    values = out.flatten(1).float()
    if values.min() >= 0 and bool((values.sum(1) - 1).abs().max() < 1e-2):
        remarks.append(f"output {number} holds probabilities (a softmax); their logarithms are taken as logits")
        return "probabilities"
    if last_operator(program.graph, number) == "sigmoid":
        remarks.append(f"output {number} comes from a sigmoid; log(p/(1-p)) is taken as logits")
        return "sigmoids"
    return "logits"


def class_order(section: TeacherSection, dataset: Dataset, path: Path) -> list[int] | None:
    """For each class of the data set its number among the teacher's outputs; None where they are in the same order.

    Raises UserError that names what `teacher.classes` lacks and what the data set does not know.
    """
    if section.classes is None:
        return None
    own, known = list(section.classes), list(dataset.classes)
    missing = [name for name in known if name not in own]
    unknown = [name for name in own if name not in known]
    twice = sorted({name for name in own if own.count(name) > 1})
    said = [f"{word} {', '.join(names[:8])}" for word, names in
            (("lacks", missing), ("has the unknown", unknown), ("holds twice", twice)) if names]  # fmt: skip
    if said:
        raise UserError(
            f"teacher.classes must name the {len(known)} classes of {dataset.name} ({', '.join(known[:12])}), in the "
            f"order of the outputs of {path}, but it {' and '.join(said)}"
        )
    order = [own.index(name) for name in known]
    return None if order == sorted(order) else order


def with_class_order(network: nn.Module, order: list[int]) -> nn.Module:
    """An early-exit network of this project whose heads' outputs are put in another order, in place."""
    for segment in network.parts:  # type: ignore[union-attr]
        classifier = segment.head.classifier
        with torch.no_grad():
            classifier.weight.copy_(classifier.weight[order])
            classifier.bias.copy_(classifier.bias[order])
    return network
