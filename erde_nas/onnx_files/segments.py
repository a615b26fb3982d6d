"""Segments of a network as ONNX models: what runs between two exits, with the head it ends in.

Segment 0 takes `image` (batch, channels, h, w) uint8, segment i takes `features{i-1}`; each gives `logits{i}` and, but
for the last, `features{i}`. Every name inside starts with `s{i}/`.
"""

import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import onnx
import torch
from torch import Tensor, nn

from erde_nas.networks.cascade import Cascade, mix
from erde_nas.networks.segmented import Segment, SegmentedNetwork
from erde_nas.onnx_files.names import input_name, output_names

OPSET = 18


class _LastSegment(nn.Module):
    """The last segment gives its logits alone: nobody reads its features."""

    def __init__(self, segment: Segment) -> None:
        super().__init__()
        self.body, self.head = segment.body, segment.head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def export_segments(network: SegmentedNetwork) -> list[onnx.ModelProto]:
    """The network's segments in eval mode, batch norms folded where they follow a convolution."""
    network = network.eval()
    device = next(network.parameters()).device
    x = torch.zeros(1, *network.image_shape, dtype=torch.uint8, device=device)
    models, modules = [], segment_modules(network)
    for number, module in enumerate(modules):
        models.append(_export(module, x, number, len(modules)))
        with torch.no_grad():
            x = network.parts[number](x)[0]
    return models


def segment_modules(network: nn.Module) -> list[nn.Module]:
    """The network's segments as modules in eval mode: images or features -> logits and, but for the last, features.

    Those of a cascade's second network say in `reads`, by the names that segments have in ONNX, what they take. A
    module of another kind counts as one segment that gives its last logits.
    """
    if isinstance(network, Cascade):
        first, second = map(segment_modules, network.members)
        return [
            *first,
            *(_OfSecond(module, number, len(first), network.averaged) for number, module in enumerate(second)),
        ]
    if not isinstance(network, SegmentedNetwork):
        return [_LastLogits(network).eval()]
    modules = [*map(_Swapped, network.parts[:-1]), _LastSegment(network.parts[-1])]
    return [module.eval() for module in modules]


def export_whole(network: nn.Module, image_shape: tuple[int, ...], free: bool = True) -> onnx.ModelProto:
    """The last exit of any network (images -> list of logits) as one segment, for any batch size or for 1 alone."""
    device = next((tensor.device for tensor in (*network.parameters(), *network.buffers())), torch.device("cpu"))
    with _without_stdout():
        return _export(_LastLogits(network), torch.zeros(1, *image_shape, dtype=torch.uint8, device=device), 0, 1, free)


@contextmanager
def _without_stdout() -> Iterator[None]:
    """Where torch's exporter knows no operator, it prints the whole graph from C++."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


class _LastLogits(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)[-1]


class _OfSecond(nn.Module):
    """Segment `number` of a cascade's second network, behind `first` segments of the first."""

    def __init__(self, module: nn.Module, number: int, first: int, averaged: float) -> None:
        super().__init__()
        self.module, self.averaged = module.eval(), averaged
        takes = input_name(first + number) if number else input_name(0)
        self.reads = (takes, *output_names(first - 1, first)) if averaged else (takes,)
        self.eval()

    def forward(self, x: Tensor, earlier: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """Images or features, and the first network's last logits (batch, classes) where answers are averaged."""
        outputs = self.module(x)
        if not self.averaged:
            return outputs
        logits, *features = outputs if isinstance(outputs, tuple) else (outputs,)
        assert earlier is not None
        mean = mix(earlier, logits, self.averaged)
        return (mean, *features) if features else mean


class _Swapped(nn.Module):
    """Logits first, so that every segment's first output is the same thing."""

    def __init__(self, segment: Segment) -> None:
        super().__init__()
        self.body, self.head = segment.body, segment.head

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(x)
        return self.head(features), features


def _export(module: nn.Module, x: Tensor, number: int, segments: int, free: bool = True) -> onnx.ModelProto:
    names = [input_name(number), *output_names(number, segments)]
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The tracing exporter is deprecated but takes 0.06 s where its successor takes 3 s, inside a search.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # of a program's own; its answers are compared
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            module.eval(),
            (x,),
            buffer,  # type: ignore[arg-type]  # documented, but missing in its annotation
            input_names=names[:1],
            output_names=names[1:],
            dynamic_axes={name: {0: "batch"} for name in names} if free else None,
            opset_version=OPSET,
            dynamo=False,
        )
    return own_names(onnx.load_from_string(buffer.getvalue()), f"s{number}/")


def own_names(model: onnx.ModelProto, prefix: str) -> onnx.ModelProto:
    """A copy in which every name but the inputs' and outputs' starts with `prefix`, in branches and loops as well."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    kept = {"", *(value.name for value in (*model.graph.input, *model.graph.output))}
    renamed_(copy.graph, lambda name: name if name in kept else prefix + name, prefix)
    return copy


def renamed_(graph: onnx.GraphProto, name_of: Callable[[str], str], prefix: str = "") -> None:
    """Give values other names, in branches and loops as well, and nodes a `prefix`.

    `onnx.compose.add_prefix` forgets the outer initializers that a branch uses.
    """
    for part in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.name = name_of(part.name)
    for node in graph.node:
        node.name = prefix + node.name if node.name else ""
        node.input[:] = map(name_of, node.input)
        node.output[:] = map(name_of, node.output)
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                renamed_(inner, name_of, prefix)
