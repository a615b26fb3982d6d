"""The recipe's description of a network: what it means, and what it refuses."""

import json
from pathlib import Path

import pytest
import yaml

from erde_nas.errors import UserError
from erde_nas.networks.arch import Block
from erde_nas.networks.blocks import build_block
from erde_nas.networks.families import StageChoice, family_of, head_width
from erde_nas.networks.heads import build_head
from erde_nas.recipe.network import StudentSection, student_arch
from erde_nas.recipe.recipe import Recipe, load_recipe
from erde_nas.recipe.teacher import TeacherSection
from erde_nas.registry import FAMILIES, HEADS
from tests.conftest import RECIPE

SHAPE = (3, 32, 32)


def places(arch):
    return [(exit_.block, exit_.head) for exit_ in arch.exits]


def load(folder: Path, section: str, text: str) -> Recipe:
    """The tiny recipe with the section `section` written as `text`."""
    values = {**yaml.safe_load(RECIPE), section: yaml.safe_load(text)}
    (folder / "mine.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return load_recipe(folder / "mine.yaml")


def test_what_recipes_may_name_can_be_built():
    for family in FAMILIES:
        block = family_of(family).block(8, StageChoice(1, 16), 2)
        assert build_block(family, 8, block).channels() == (block.width, block.hidden)
    for head in HEADS:
        width = head_width(head, 8)
        assert build_head(head, channels=8, size=4, classes=3, width=width).width() == width


def test_a_student_is_described_by_its_stages(tmp_path):
    text = "{family: mobilenet, stem: 8, depths: [1, 2], widths: [8, 24], kernel: 5, expansion: 2, head: conv}"
    arch = student_arch(load(tmp_path, "student", text).student, SHAPE, 7)
    assert arch.blocks == (Block(8, 16, 5), Block(24, 16, 5, 2, "none"), Block(24, 48, 5))
    assert (arch.stem, arch.classes, arch.in_channels, arch.image_size) == (8, 7, 3, 32)
    assert places(arch) == [(0, "conv"), (2, "conv")]


def test_a_tail_keeps_the_resolution_and_its_trunk_ends_in_an_exit(tmp_path):
    text = "{stem: 8, depths: [1, 2, 3], widths: [8, 16, 24], strides: [1, 2, 1], head: gap}"
    for section in ("student", "teacher"):
        arch = student_arch(getattr(load(tmp_path, section, text), section), SHAPE, 10)
        assert [(block.width, block.stride) for block in arch.blocks] == [(8, 1), (16, 2), (16, 1)] + 3 * [(24, 1)]
        assert [exit_.block for exit_ in arch.exits] == [0, 2, 5]


@pytest.mark.parametrize(
    ("exits", "blocks"), [("stages", [1, 2, 4]), ("last", [4]), ([0, 3], [0, 3, 4]), ([4, 1], [1, 4]), ([4], [4])]
)
def test_exits_are_at_stage_ends_or_where_they_are_asked_for_and_at_the_end(tmp_path, exits, blocks):
    text = json.dumps({"depths": [2, 1, 2], "widths": [8, 8, 8], "exits": exits, "head": "gap"})
    for section in ("student", "teacher"):
        arch = student_arch(getattr(load(tmp_path, section, text), section), SHAPE, 10)
        assert places(arch) == [(block, "gap") for block in blocks]


@pytest.mark.parametrize(
    ("text", "exits"),
    [
        ("{model: resnet8x4}", [(0, "erde"), (1, "erde"), (2, "linear")]),
        ("{model: resnet8x4, exits: last}", [(2, "linear")]),
        ("{model: wrn-16-2, head: conv}", [(1, "conv"), (3, "conv"), (5, "gap")]),
        ("{model: vgg13, exits: [1], head: gap}", [(1, "gap"), (8, "linear")]),
        ("{model: mobilenetv2}", [(2, "erde"), (5, "erde"), (12, "erde"), (16, "wide")]),
        ("{model: shufflenetv2, exits: [15, 0], head: wide}", [(0, "wide"), (15, "wide")]),
    ],
)
def test_a_named_student_ends_as_it_was_published(tmp_path, text, exits):
    arch = student_arch(load(tmp_path, "student", text).student, SHAPE, 10)
    assert places(arch) == exits


def test_the_widths_of_published_endings_are_not_those_of_early_exits(tmp_path):
    student = load(tmp_path, "student", "{model: shufflenetv2, exits: [0], head: wide}").student
    assert student_arch(student, SHAPE, 10).head_widths == (4 * 116, 1024)
    student = load(tmp_path, "student", "{model: mobilenetv2}").student
    arch = student_arch(student, SHAPE, 10)
    assert (arch.head_widths, arch.stem_stride, arch.stem_kernel) == ((0, 0, 0, 1280), 2, 3)


def test_a_named_teacher_has_exits_of_its_head(tmp_path):
    teacher = load(tmp_path, "teacher", "{model: resnet32x4, train: {epochs: 2}}").teacher
    assert places(student_arch(teacher, SHAPE, 100)) == [(4, "gap"), (9, "gap"), (14, "linear")]


def test_a_recipe_need_not_describe_a_student(tmp_path):
    assert load(tmp_path, "search", "{trials: 3}").student is None


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            "{model: resnet8x4, family: resnet, depths: [1, 1, 1]}",
            r"student: model: resnet8x4 says what family, depths would say; remove model, or remove family, depths",
        ),
        ("{model: resnet8x2}", r"student\.model: .*\(got \"resnet8x2\"\); did you mean 'resnet8x4'\?"),
        (
            "{model: alexnet}",
            r"student\.model: should be 'resnet8x4', .* or 'airbench94' \(got \"alexnet\"\); choose one",
        ),
        ("{family: vgg16}", r"student\.family: .*\(got \"vgg16\"\); did you mean 'vgg'\?"),
        ("{head: liner}", r"student\.head: .*\(got \"liner\"\); did you mean 'linear'\?"),
        ("{depths: [1, 2]}", r"student: depths and widths need one number per stage, .* but got 2 and 3"),
        ("{depths: [1, 1, 0]}", r"student\.depths\[2\]: .* 1 \(got 0\)"),
        ("{exits: [0, 3]}", r"student: exits must be blocks from 0 to 2, but got \[0, 3\]"),
        ("{model: vgg8, exits: [5]}", r"student: exits must be blocks from 0 to 3, but got \[5\]"),
        ("{exits: stage}", r"student\.exits: should be stages, last, or a list of .* \(got 'stage'\)"),
        ("{exits: []}", r"student\.exits: should be stages, last, .* \(got \[\]\)"),
        ("{exits: [1, 1]}", r"student\.exits: should be .* list of different blocks, .* \(got \[1, 1\]\)"),
        ("{exits: [-1]}", r"student\.exits: should be .* counted from 0, .* \(got \[-1\]\)"),
        ("{exits: [true]}", r"student\.exits: should be .* \(got \[True\]\)"),
        ("{exits: 2}", r"student\.exits: should be .* \(got 2\)"),
        ("{models: vgg8}", r"student\.models: is not a key here; did you mean 'model'\?"),
        ("{strides: [1, 2]}", r"student: strides needs one number per stage, but holds 2 for 3 stages"),
        ("{strides: [1, 2, 4]}", r"student\.strides\[2\]: should be 1 or 2 \(got 4\)"),
        ("{model: vgg8, strides: [1]}", r"student: model: vgg8 says what strides would say; remove"),
        ("{kernel: 4}", r"student\.kernel: should be 3, 5 or 7 \(got 4\)"),
    ],
)
def test_a_mistake_is_answered_with_the_values(tmp_path, section, message):
    with pytest.raises(UserError, match=rf"mine\.yaml:\d+: {message}"):
        load(tmp_path, "student", section)


@pytest.mark.parametrize("key", ["family: resnet", "stem: 32", "depths: [2, 2, 2]", "widths: [8, 8, 8]"])
def test_a_named_teacher_is_not_described_twice(tmp_path, key):
    with pytest.raises(UserError, match=r"teacher: model: wrn-28-4 says what \w+ would say"):
        load(tmp_path, "teacher", f"{{model: wrn-28-4, {key}}}")


@pytest.mark.parametrize("text", ["{model: vgg8, exits: [1]}", "{model: resnet50}", "{stem: 8, exits: last}", "{}"])
@pytest.mark.parametrize("section", [StudentSection, TeacherSection])
def test_what_is_written_to_a_run_folder_can_be_read_again(section, text):
    first = section.model_validate_json(json.dumps(yaml.safe_load(text)), strict=True)
    written = first.model_dump(mode="json", exclude_none=True)
    assert ("stem" in written) == (first.model is None)
    again = section.model_validate_json(json.dumps(written), strict=True)
    assert student_arch(again, SHAPE, 10) == student_arch(first, SHAPE, 10)
    assert again.model_dump() == first.model_dump()
