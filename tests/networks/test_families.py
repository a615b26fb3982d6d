"""Architectures written out by hand against those that the families make."""

import pytest

from erde_nas.networks.arch import Arch, Block, Exit
from erde_nas.networks.families import StageChoice, make_arch, make_blocks, stage_ends, without_early_exits

SHARED = {"image_shape": (3, 32, 32), "classes": 10, "stem": 16}


def test_resnet_projects_where_the_shape_changes():
    arch = make_arch(
        "resnet", stages=[StageChoice(2, 16), StageChoice(2, 32)], exits=[Exit(3, "gap"), Exit(1, "conv")], **SHARED
    )
    assert arch == Arch(
        family="resnet",
        in_channels=3,
        image_size=32,
        classes=10,
        stem=16,
        blocks=(
            Block(16, 16, 3, 1, "identity"),
            Block(16, 16, 3, 1, "identity"),
            Block(32, 32, 3, 2, "projection"),
            Block(32, 32, 3, 1, "identity"),
        ),
        exits=(Exit(1, "conv"), Exit(3, "gap")),
        head_widths=(16, 0),
    )


def test_resnet_projects_where_the_stem_is_narrower_than_the_first_stage():
    arch = make_arch("resnet", stages=[StageChoice(1, 24)], exits=[Exit(0, "gap")], **SHARED)
    assert arch.blocks == (Block(24, 24, 3, 1, "projection"),)


def test_mobilenet_expands_the_inputs_and_skips_where_the_shape_stays():
    arch = make_arch(
        "mobilenet",
        stages=[StageChoice(2, 24, 5, 4), StageChoice(1, 24, 3, 2)],
        exits=[Exit(2, "erde")],
        **SHARED,
    )
    assert arch.blocks == (
        Block(24, 16 * 4, 5, 1, "none"),
        Block(24, 24 * 4, 5, 1, "identity"),
        Block(24, 24 * 2, 3, 2, "none"),
    )


@pytest.mark.parametrize(("exits", "got"), [((0,), r"\[0\]"), ((0, 0, 1), r"\[0, 0, 1\]"), ((1, 2), r"\[1, 2\]")])
def test_exits_must_differ_and_end_the_network(exits, got):
    with pytest.raises(ValueError, match=rf"the last on block 1, but got {got}"):
        make_arch("resnet", stages=[StageChoice(2, 8)], exits=[Exit(block, "gap") for block in exits], **SHARED)


@pytest.mark.parametrize(
    ("family", "blocks"),
    [
        ("wrn", [Block(16, 16), Block(32, 32, 3, 2, "projection"), Block(32, 32)]),
        ("vgg", [Block(16, 0, 3, 1, "none"), Block(32, 0, 3, 2, "none"), Block(32, 0, 3, 1, "none")]),
        ("airbench", [Block(16, 0, 3, 2, "none"), Block(32, 0, 3, 2, "none"), Block(32, 0, 3, 1, "none")]),
        ("bottleneck", [Block(16, 8), Block(32, 8, 3, 2, "projection"), Block(32, 8)]),
        ("shufflenet", [Block(16, 8, 5), Block(32, 16, 5, 2, "projection"), Block(32, 16, 5)]),
    ],
)
def test_blocks_of_the_other_families(family, blocks):
    stages = [StageChoice(1, 16, 5, 4), StageChoice(2, 32, 5, 4)]
    arch = make_arch(family, stages=stages, exits=[Exit(2, "gap")], **SHARED)
    assert list(arch.blocks) == blocks


@pytest.mark.parametrize(("width", "hidden"), [(256, 64), (96, 24), (40, 16), (8, 8)])
def test_a_bottleneck_is_four_times_narrower_inside_in_multiples_of_8(width, hidden):
    (block,) = make_blocks("bottleneck", 16, [StageChoice(1, width)])
    assert block == Block(width, hidden, 3, 1, "projection")


@pytest.mark.parametrize(("channels", "stem"), [(3, 16), (1, 8)])
def test_a_whitening_stem_has_two_filters_for_each_pixel_of_a_patch_at_most(channels, stem):
    shared = {**SHARED, "image_shape": (channels, 32, 32)}
    assert make_arch("airbench", stages=[StageChoice(1, 8)], exits=[Exit(0, "max")], **shared).stem == stem


def test_a_stage_may_have_a_stride_of_its_own():
    stages = [StageChoice(2, 16, stride=2), StageChoice(1, 24, stride=1), StageChoice(2, 32)]
    blocks = make_blocks("resnet", 16, stages)
    assert [block.stride for block in blocks] == [2, 1, 1, 2, 1]
    assert [block.skip for block in blocks] == ["projection", "identity", "projection", "projection", "identity"]


@pytest.mark.parametrize(
    ("strides", "ends"),
    [([1, 1, 2, 2, 1, 1], [1, 2, 5]), ([2, 2, 2, 1], [0, 1, 3]), ([1], [0]), ([2, 1], [1]), ([1, 2], [0, 1])],
)
def test_a_stage_ends_where_the_next_block_halves_the_resolution(strides, ends):
    assert stage_ends([Block(8, 8, 3, stride) for stride in strides]) == ends


def test_without_early_exits_only_the_exits_differ():
    stages = [StageChoice(1, 8), StageChoice(1, 16)]
    both = make_arch("resnet", stages=stages, exits=[Exit(0, "gap"), Exit(1, "conv")], **SHARED)
    last = make_arch("resnet", stages=stages, exits=[Exit(1, "conv")], **SHARED)
    assert without_early_exits(both) == last
