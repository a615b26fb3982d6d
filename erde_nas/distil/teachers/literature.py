"""Weights of the literature's networks: `.pth` files of the public code bases of CRD and mdistiller.

Such a file is a state dict, alone or in a training checkpoint, with the layers' names of that code. Only tensors are
read (`weights_only`). VGG's convolutions have biases there, which the batch norms behind them take in here: a norm that
subtracts the mean of x + b subtracts mean - b of x.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from erde_nas.data.dataset import Dataset
from erde_nas.distil.teachers.literature_names import LAYERS, layers
from erde_nas.distil.teachers.normalisation import normalisation_of
from erde_nas.errors import UserError
from erde_nas.networks.arch import Arch
from erde_nas.networks.models import MODELS, model_arch
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.network import student_arch
from erde_nas.recipe.teacher import TeacherSection

SUFFIXES = (".pth", ".pt", ".tar", ".bin")
WRAPPERS = ("model", "state_dict", "model_state", "net")  # keys under which checkpoints keep the state dict
CIFAR100 = ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))  # mean and deviation that these code bases set
NORM = ("weight", "bias", "running_mean", "running_var")
SHOWN = 3  # names in a message


def load_literature(section: TeacherSection, path: Path, dataset: Dataset) -> EarlyExitNetwork:
    """The network `section.model` with the weights of `path` and its published exit alone, for images of `dataset`.

    Unless the section says how images are normalised, CIFAR-100 is as in that code, other data as the training split
    is. Raises UserError where the file cannot be read safely, or its weights are not those of this network and these
    classes.
    """
    assert section.model is not None
    if not _has_public_weights(section.model):
        raise UserError(
            f"teacher.model {section.model} has no layers' names of a public code base, so {path} cannot be read; "
            "give the weights.safetensors of a run, or a program of torch.export without model"
        )
    if not isinstance(section.exits, str):
        raise UserError(
            f"teacher checkpoint {path} holds no early exits, but teacher.exits is {list(section.exits)}; "
            "write exits: last"
        )
    channels, height, width = dataset.train.images.shape[1:]
    classes = len(dataset.classes)
    arch = student_arch(section.model_copy(update={"exits": "last"}), (channels, height, width), classes)
    usual = CIFAR100 if dataset.name == "cifar100" else (dataset.mean, dataset.std)
    mean, std = normalisation_of(section, dataset) or usual
    network = EarlyExitNetwork(arch, mean, std)
    state = read_state(path)
    _check(state, arch, section.model, path)
    _fill_(network, state)
    return network


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a file, without the prefix that DataParallel puts before its names."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds, for damage as for what is no tensor
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{path} cannot be read as weights alone ({reason}); save its model.state_dict() with torch.save"
        ) from error
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{path} holds no state dict of tensors; save model.state_dict() with torch.save")
    return {str(k).removeprefix("module."): value for k, value in content.items() if isinstance(value, Tensor)}


def published_shapes(arch: Arch) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a published network's weights, without the counters of its norms."""
    with torch.device("meta"):
        network = EarlyExitNetwork(arch, [0.0] * arch.in_channels, [1.0] * arch.in_channels)
    modules, shapes = dict(network.named_modules()), {}
    for theirs, ours in layers(arch):
        module = modules[ours]
        for part in NORM if isinstance(module, nn.BatchNorm2d) else ("weight", "bias"):
            if (tensor := getattr(module, part, None)) is not None:
                shapes[f"{theirs}.{part}"] = tuple(tensor.shape)
        if arch.family == "vgg" and isinstance(module, nn.Conv2d):
            shapes[f"{theirs}.bias"] = (module.out_channels,)
    return shapes


def _fill_(network: EarlyExitNetwork, state: Mapping[str, Tensor]) -> None:
    modules, bias = dict(network.named_modules()), None
    with torch.no_grad():
        for theirs, ours in layers(network.arch):
            module = modules[ours]
            for part in NORM if isinstance(module, nn.BatchNorm2d) else ("weight", "bias"):
                if (tensor := getattr(module, part, None)) is not None:
                    tensor.copy_(state[f"{theirs}.{part}"])
            if isinstance(module, nn.BatchNorm2d) and bias is not None:
                module.running_mean -= bias  # type: ignore[operator]
            bias = state.get(f"{theirs}.bias") if isinstance(module, nn.Conv2d) else None


def _check(state: Mapping[str, Tensor], arch: Arch, name: str, path: Path) -> None:
    """Raises UserError that says in which way these are the weights of another network."""
    wanted = published_shapes(arch)
    found = {key: tuple(value.shape) for key, value in state.items() if not key.endswith("num_batches_tracked")}
    if found == wanted:
        return
    last = list(layers(arch))[-1][0]
    if found.keys() == wanted.keys() and all(k.startswith(last) for k in wanted if found[k] != wanted[k]):
        raise UserError(
            f"{path} has {found[f'{last}.bias'][0]} classes, but the data set has {arch.classes}; use a teacher "
            "trained on it"
        )
    parts = [
        _some("missing", sorted(wanted.keys() - found.keys())),
        _some("unexpected", sorted(found.keys() - wanted.keys())),
        _some(
            "of another shape",
            [f"{k} {found[k]} instead of {wanted[k]}" for k in wanted if k in found and found[k] != wanted[k]],
        ),
    ]
    right = [n for n in MODELS if n != name and _has_public_weights(n) and _fits(found, n, arch)]
    step = f"they are those of {' or '.join(right)}" if right else "correct teacher.model or the file"
    raise UserError(f"{path} holds no weights of {name}: {'; '.join(filter(None, parts))}; {step}")


def _has_public_weights(model: str) -> bool:
    return MODELS[model].family in LAYERS


def _some(what: str, names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{what} {', '.join(names[:SHOWN])}{more}" if names else ""


def _fits(found: Mapping[str, tuple[int, ...]], other: str, arch: Arch) -> bool:
    shape = (arch.in_channels, arch.image_size, arch.image_size)
    return found == published_shapes(
        model_arch(MODELS[other], image_shape=shape, classes=arch.classes, early=(), head="gap")
    )
