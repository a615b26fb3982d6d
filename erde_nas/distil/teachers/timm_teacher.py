"""Transformers (ViT, DeiT, Swin) and any other classifier of timm as a teacher with one exit.

timm is the optional extra `timm`. The weights come from the user's file alone: nothing is downloaded, nothing is
unpickled but tensors. The model sees what it was trained on: images resized to its own input size as Pillow resizes
them, three channels, its own mean and standard deviation (timm's `default_cfg`).
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from erde_nas.distil.teachers.normalisation import Normalisation
from erde_nas.distil.teachers.wrapper import Answer, ForeignTeacher
from erde_nas.errors import UserError
from erde_nas.networks.network import Normalize

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


class ResizedInput(nn.Module):
    """Square images (batch, channels, size, size), pixels 0..255 -> (batch, 3, side, side), normalised.

    One channel is repeated. Resizing along an axis is linear, so it is one fixed matrix (side, size) for both axes:
    that runs and exports alike everywhere, which antialiased resizing does not. Like Pillow it clamps after each axis
    (bicubic kernels overshoot), but it does not round, where two runtimes would fall on different sides.
    """

    matrix: Tensor

    def __init__(self, size: int, side: int, kernel: str, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        rows = F.interpolate(torch.eye(size)[None, None], (side, size), mode=kernel, antialias=True)[0, 0]
        self.register_buffer("matrix", rows)
        self.normalize = Normalize(mean, std)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, 1 or 3, size, size) -> (batch, 3, side, side) float32."""
        with torch.autocast(images.device.type, enabled=False):  # bf16 has no room for 256 levels
            rows = (images.float() @ self.matrix.T).clamp(0, 255)
            pixels = (self.matrix @ rows).clamp(0, 255)
            return self.normalize(pixels.expand(-1, 3, -1, -1))


def build_timm(
    name: str,
    checkpoint: Path,
    image_shape: tuple[int, int, int],
    classes: int,
    normalisation: Normalisation | None = None,
    answer: Answer | None = None,
) -> tuple[ForeignTeacher, dict[str, Any]]:
    """The teacher, and how its images are prepared: input_size, interpolation, mean and std, those of `normalisation`
    if there is one. `answer` puts its classes in order.

    Raises UserError where timm is absent or does not know `name`, and where the file is damaged or does not fit.
    """
    timm = _import_timm()
    if not timm.is_model(name):
        near = get_close_matches(name, timm.list_models())
        hint = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() lists them"
        raise UserError(f"teacher.timm: timm {timm.__version__} knows no model '{name}'; {hint}")
    channels, size, _ = image_shape
    if channels not in (1, 3):
        raise UserError(f"teacher.timm: {name} takes gray or colour images, but these have {channels} channels")
    try:
        model = timm.create_model(name, pretrained=False, num_classes=classes)
    except Exception as error:  # a constructor may refuse in any way
        raise UserError(f"teacher.timm: timm cannot build '{name}' with {classes} classes: {_line(error)}") from error
    _load(model, name, _read(timm, checkpoint), checkpoint)
    config = {
        key: value
        for key, value in import_module("timm.data").resolve_model_data_config(model).items()
        if key in ("input_size", "interpolation", "mean", "std")
    }
    if normalisation is not None:
        mean, std = (values * 3 if len(values) == 1 else values for values in normalisation)  # one channel is repeated
        config |= {"mean": mean, "std": std}
    kernel = "bilinear" if config["interpolation"] == "bilinear" else "bicubic"
    prepare = ResizedInput(size, config["input_size"][-1], kernel, config["mean"], config["std"])
    return ForeignTeacher(prepare, model, answer), config


def _import_timm() -> Any:
    try:
        return import_module("timm")
    except ImportError as error:
        if error.name not in ("timm", "torchvision"):
            raise
        raise UserError(
            f"teacher.timm needs {error.name}, which is not installed; pip install 'erde-nas[timm]', "
            "with a torchvision of the same build as torch"
        ) from error
    except RuntimeError as error:  # torchvision's operators are compiled for one build of torch
        raise UserError(
            f"timm cannot be imported ({_line(error)}); install the torchvision that belongs to torch "
            f"{torch.__version__}, from the same index"
        ) from error


def _read(timm: Any, path: Path) -> Mapping[str, Tensor]:
    """The tensors of a state dict, or of the one (of a moving average first) in a training checkpoint."""
    if path.suffix not in SUFFIXES:
        raise UserError(f"teacher checkpoint {path} of a timm model must end in {', '.join(SUFFIXES)}")
    try:
        state = timm.models.load_state_dict(str(path), weights_only=True)
    except Exception as error:  # torch.load and safetensors raise many kinds for a damaged file
        raise UserError(f"{path} holds no weights that can be read safely: {_line(error)}") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path} holds no state dict of tensors; save model.state_dict()")
    return state


def _load(model: nn.Module, name: str, state: Mapping[str, Tensor], path: Path) -> None:
    """Put the weights into the model. Raises UserError that says in which way they are those of another model."""
    own = model.state_dict()
    missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or unexpected:
        counts = [
            f"{len(keys)} {kind} (such as {keys[0]})"
            for kind, keys in (("missing", missing), ("unexpected", unexpected))
            if keys
        ]
        raise UserError(f"{path} is not of timm's {name}: {', '.join(counts)}; correct teacher.timm or the file")
    other = [key for key in own if own[key].shape != state[key].shape]
    if not other:
        model.load_state_dict(state)
        return
    heads = _heads(model)
    if all(key.startswith(heads) for key in other):
        raise UserError(
            f"{path} has {len(state[other[0]])} classes, but the data set has {len(own[other[0]])}; "
            "use a teacher trained on it"
        )
    key = next(key for key in other if not key.startswith(heads))
    shapes = f"{key} is {tuple(state[key].shape)}, but must be {tuple(own[key].shape)}"
    why = "another input size" if "pos" in key else "another width or input size"
    raise UserError(f"{path} is not of timm's {name} (of {why}?): {shapes}; correct teacher.timm or the file")


def _heads(model: nn.Module) -> tuple[str, ...]:
    """What the names of the classifier's weights start with; a distilled model has two classifiers."""
    names = getattr(model, "pretrained_cfg", {}).get("classifier") or "head"
    return tuple(f"{name}." for name in ([names] if isinstance(names, str) else names))


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
