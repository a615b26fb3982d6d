"""Named networks of the distillation literature, for images of 32×32.

`airbench94` is Jordan's (2024, arXiv 2404.00498), with the bias that heads have here. Sources of the others: the CIFAR
networks of the public code bases of CRD (Tian et al., ICLR 2020) and mdistiller (Zhao et al., CVPR 2022), which EA-KD's
tables are about, with their first weights and their stages: VGG's last two have one resolution, and its first is no
stage of theirs. Two things differ: a convolution before a batch norm has no bias here (theirs has one in VGG alone,
where the batch norm cancels it), and images above 48 pixels are halved in the stem.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from erde_nas.networks.arch import Arch, Block, Exit
from erde_nas.networks.families import StageChoice, make_arch, make_blocks


@dataclass(frozen=True)
class Model:
    """A network up to its early exits. `ending` is the head of its last exit, `ending_width` the width in it if it is
    not the usual one."""

    family: str
    stem: int
    stages: tuple[StageChoice, ...]
    ending: str = "linear"
    ending_width: int | None = None
    stem_kernel: int = 3
    stem_stride: int = 1
    hints: tuple[int, ...] = ()  # last blocks of its stages, where those are no resolutions
    weights: str = "torch"  # how it starts

    @property
    def blocks(self) -> tuple[Block, ...]:
        """What is between the stem and the ending."""
        return make_blocks(self.family, self.stem, self.stages)


def _stages(
    depths: Sequence[int], widths: Sequence[int], strides: Sequence[int] | None = None
) -> tuple[StageChoice, ...]:
    strides = strides or [1] + [2] * (len(depths) - 1)
    return tuple(StageChoice(d, w, stride=s) for d, w, s in zip(depths, widths, strides, strict=True))


def _wide_resnet(depth: int, factor: int) -> Model:
    each = (depth - 4) // 6
    return Model("wrn", 16, _stages([each] * 3, [16 * factor, 32 * factor, 64 * factor]), "gap")


_MODELS: dict[str, Model] = {
    "resnet8x4": Model("resnet", 32, _stages([1, 1, 1], [64, 128, 256])),
    "resnet32x4": Model("resnet", 32, _stages([5, 5, 5], [64, 128, 256])),
    "wrn-16-2": _wide_resnet(16, 2),
    "wrn-40-1": _wide_resnet(40, 1),
    "wrn-40-2": _wide_resnet(40, 2),
    "wrn-28-4": _wide_resnet(28, 4),
    "vgg8": Model("vgg", 64, _stages([1, 1, 1, 1], [128, 256, 512, 512], [2, 2, 2, 1]), hints=(0, 1, 2, 3)),
    "vgg13": Model("vgg", 64, _stages([1, 2, 2, 2, 2], [64, 128, 256, 512, 512], [1, 2, 2, 2, 1]), hints=(2, 4, 6, 8)),
    "mobilenetv2": Model(  # half as wide as the paper's, its first three strides are 2, 1, 1
        "mobilenet",
        16,
        (
            StageChoice(1, 8, expansion=1, stride=1),
            StageChoice(2, 12, expansion=6, stride=1),
            StageChoice(3, 16, expansion=6, stride=2),
            StageChoice(4, 32, expansion=6, stride=2),
            StageChoice(3, 48, expansion=6, stride=1),
            StageChoice(3, 80, expansion=6, stride=2),
            StageChoice(1, 160, expansion=6, stride=1),
        ),
        "wide",
        1280,
        stem_stride=2,
    ),
    "shufflenetv2": Model(
        "shufflenet", 24, _stages([4, 8, 4], [116, 232, 464], [2, 2, 2]), "wide", 1024, stem_kernel=1
    ),
    "resnet50": Model("bottleneck", 64, _stages([3, 4, 6, 3], [256, 512, 1024, 2048])),
    "airbench94": Model("airbench", 24, _stages([2, 2, 2], [64, 256, 256], [2, 2, 2]), "max"),
}

MODELS = {name: replace(model, weights="published") for name, model in _MODELS.items()}


def model_arch(
    model: Model, *, image_shape: tuple[int, int, int], classes: int, early: Sequence[int], head: str
) -> Arch:
    """`model` for square images of shape (channels, size, size), with an exit of kind `head` on each block of `early`.

    The last exit is the model's own.
    """
    arch = make_arch(
        model.family,
        image_shape=image_shape,
        classes=classes,
        stem=model.stem,
        stages=model.stages,
        exits=[*(Exit(block, head) for block in early), Exit(len(model.blocks) - 1, model.ending)],
    )
    widths = arch.head_widths
    if model.ending_width is not None:
        widths = (*widths[:-1], model.ending_width)
    return replace(
        arch,
        head_widths=widths,
        stem_kernel=model.stem_kernel,
        stem_stride=model.stem_stride,
        hints=model.hints,
        weights=model.weights,
    )
