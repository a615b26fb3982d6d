"""How the public code bases of CRD and mdistiller name the layers of the literature's networks."""

from collections.abc import Iterator

from erde_nas.networks.arch import Arch

Names = Iterator[tuple[str, str]]
"""(layer in their files, layer in `EarlyExitNetwork`), both without `.weight`."""


def layers(arch: Arch) -> Names:
    """Every layer with weights of a published network with one exit, in the order of its forward pass."""
    return LAYERS[arch.family](arch)


def _body(arch: Arch) -> Iterator[tuple[int, int, str]]:
    """(number of the stage, of the block in it, our name of the block): a stage ends where the next block changes its
    width or stride, as in all of these networks but VGG."""
    stage = block = 0
    for number, own in enumerate(arch.blocks):
        before = arch.blocks[number - 1] if number else own
        if number and (own.width != before.width or own.stride > 1):
            stage, block = stage + 1, 0
        yield stage, block, f"segments.0.body.{number + 2}"
        block += 1


def _resnet(arch: Arch) -> Names:
    wide = arch.family == "bottleneck"
    own, shortcut = (("reduce", "middle", "restore"), "shortcut") if wide else (("first", "second"), "downsample")
    yield from _pair("conv1", "bn1", "segments.0.body.1")
    for (stage, block, ours), record in zip(_body(arch), arch.blocks, strict=True):
        theirs = f"layer{stage + 1}.{block}"
        for number, part in enumerate(own, 1):
            yield from _pair(f"{theirs}.conv{number}", f"{theirs}.bn{number}", f"{ours}.{part}")
        if record.skip == "projection":
            yield from _pair(f"{theirs}.{shortcut}.0", f"{theirs}.{shortcut}.1", f"{ours}.skip")
    yield ("linear" if wide else "fc"), "segments.0.head.classifier"


def _wrn(arch: Arch) -> Names:
    yield "conv1", "segments.0.body.1.0"
    for (stage, block, ours), record in zip(_body(arch), arch.blocks, strict=True):
        theirs = f"block{stage + 1}.layer.{block}"
        for number, part in enumerate(("first", "second"), 1):
            yield f"{theirs}.bn{number}", f"{ours}.{part}_norm"
            yield f"{theirs}.conv{number}", f"{ours}.{part}"
        if record.skip == "projection":
            yield f"{theirs}.convShortcut", f"{ours}.projection"
    yield "bn1", "segments.0.head.features.0"
    yield "fc", "segments.0.head.classifier"


def _vgg(arch: Arch) -> Names:
    """Five blocks of convolutions, of which `arch.hints` ends the last four; the first begins with our stem."""
    first = arch.hints[0] - (arch.hints[1] - arch.hints[0]) + 1  # our blocks in their first one
    starts = [-1, first, *(end + 1 for end in arch.hints[:-1])]
    for number in range(-1, len(arch.blocks)):
        stage = max(i for i, start in enumerate(starts) if start <= number)
        position = 3 * (number - starts[stage])
        ours = f"segments.0.body.{number + 2}" + ("" if number < 0 else ".conv")
        yield from _pair(f"block{stage}.{position}", f"block{stage}.{position + 1}", ours)
    yield "classifier", "segments.0.head.classifier"


def _mobilenet(arch: Arch) -> Names:
    yield from _pair("conv1.0", "conv1.1", "segments.0.body.1")
    for stage, block, ours in _body(arch):
        for number, part in enumerate(("expand", "depthwise", "project")):
            theirs = f"blocks.{stage}.{block}.conv"
            yield from _pair(f"{theirs}.{3 * number}", f"{theirs}.{3 * number + 1}", f"{ours}.{part}")
    yield from _pair("conv2.0", "conv2.1", "segments.0.head.features")
    yield "classifier.0", "segments.0.head.classifier"


def _shufflenet(arch: Arch) -> Names:
    yield from _pair("conv1", "bn1", "segments.0.body.1")
    for (stage, block, ours), record in zip(_body(arch), arch.blocks, strict=True):
        parts = ["expand", "depthwise", "project"]
        if record.skip == "projection":
            parts = ["left.0", "left.1", *parts]
        for number, part in enumerate(parts, 1):
            theirs = f"layer{stage + 1}.{block}"
            yield from _pair(f"{theirs}.conv{number}", f"{theirs}.bn{number}", f"{ours}.{part}")
    yield from _pair("conv2", "bn2", "segments.0.head.features")
    yield "linear", "segments.0.head.classifier"


def _pair(conv: str, norm: str, ours: str) -> Names:
    yield conv, f"{ours}.0"
    yield norm, f"{ours}.1"


LAYERS = {
    "resnet": _resnet,
    "bottleneck": _resnet,
    "wrn": _wrn,
    "vgg": _vgg,
    "mobilenet": _mobilenet,
    "shufflenet": _shufflenet,
}
