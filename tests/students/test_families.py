"""Architectures written out by hand against those that the families make."""

import pytest

from erde_nas.records import Arch, Block, Exit
from erde_nas.students.families import StageChoice, make_arch, stage_ends, without_early_exits

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


def test_stage_ends_are_the_last_blocks():
    assert stage_ends([2, 1, 3]) == [1, 2, 5]


def test_without_early_exits_only_the_exits_differ():
    stages = [StageChoice(1, 8), StageChoice(1, 16)]
    both = make_arch("resnet", stages=stages, exits=[Exit(0, "gap"), Exit(1, "conv")], **SHARED)
    last = make_arch("resnet", stages=stages, exits=[Exit(1, "conv")], **SHARED)
    assert without_early_exits(both) == last
