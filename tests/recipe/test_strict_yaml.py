"""Strict YAML: what is accepted, and what every mistake is told."""

import json
import re
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, model_validator

from erde_nas.errors import UserError
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.recipe.recipe import Recipe
from erde_nas.recipe.strict_yaml import load_strict
from erde_nas.recipe.yaml_lines import MAX_BYTES, MAX_DEPTH, read_yaml


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Stage(Part):
    width: Annotated[int, Field(ge=8, multiple_of=8)] = 8
    kind: Literal["resnet", "mobilenet"] = "resnet"


class Config(Part):
    name: str = "unnamed"
    rate: Annotated[float, Field(gt=0)] = 0.1
    flip: bool = False
    limit: float | None = None
    widths: tuple[tuple[int, ...], ...] = ()
    kernels: tuple[Literal[3, 5], ...] = (3,)
    first: Stage = Stage()
    stages: tuple[Stage, ...] = ()

    @model_validator(mode="after")
    def _named(self) -> "Config":
        if self.name == "forbidden":
            raise ValueError("name must not be 'forbidden'; choose another")
        return self


@pytest.fixture
def load(tmp_path):
    def load_text(text: str | bytes) -> Config:
        path = tmp_path / "config.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return load_strict(path, Config)

    return load_text


@pytest.fixture
def problems(load, tmp_path):
    """The lines of the error that a text earns, without the folder."""

    def of(text: str | bytes) -> list[str]:
        with pytest.raises(UserError) as caught:
            load(text)
        return str(caught.value).replace(f"{tmp_path}/", "").splitlines()

    return of


def test_lists_become_tuples_at_every_depth(load):
    assert load("widths: [[8, 16], [32]]").widths == ((8, 16), (32,))


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("1E3", 1e3), ("2", 2.0), (".5", 0.5), ("5.", 5.0), ("1_000.5", 1000.5), ("+1.5e+2", 150.0)],
)
def test_numbers_that_people_write_are_floats(load, text, value):
    rate = load(f"rate: {text}").rate
    assert isinstance(rate, float)
    assert rate == value


@pytest.mark.parametrize("text", ["no", "on", "2020-01-01", "1:30", "a b", "'12'", ".nan", "=", "<<"])
def test_what_yaml_1_1_would_convert_stays_text(load, text):
    assert load(f"name: {text}").name == text.strip("'")


@pytest.mark.parametrize(("text", "value"), [("1_000", 1000), ("010", 10), ("0x1F", 31), ("0o17", 15), ("-8", -8)])
def test_integers(load, text, value):
    assert load(f"widths: [[{text}]]").widths == ((value,),)


@pytest.mark.parametrize("text", ["", "~", "null"])
def test_null_is_the_absent_value(load, text):
    assert load(f"limit: {text}").limit is None


def test_a_list_of_sections_is_checked_by_its_model(load, problems):
    assert load("stages:\n  - {width: 16}").stages == (Stage(width=16),)
    assert problems("stages:\n  - {width: 16}\n  - {widht: 16}") == [
        "config.yaml:3: stages[1].widht: is not a key here; did you mean 'width'?"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nme: x", "1: nme: is not a key here; did you mean 'name'?"),
        ("first:\n  qqq: 1", "2: first.qqq: is not a key here; use kind, width"),
        ("rate: 0", "1: rate: should be greater than 0 (got 0); choose another value"),
        ("rate: fast", '1: rate: should be a number (got "fast"); write a number without quotes'),
        ("flip: yes", '1: flip: should be true or false (got "yes"); write it without quotes'),
        ("name: 5", "1: name: should be a text (got 5); put numbers and true or false in quotes"),
        ("\nkernels: 3", "2: kernels: should be a list (got 3); write a list, such as [a, b]"),
        ("kernels: [3,\n  4]", "2: kernels[1]: should be 3 or 5 (got 4); choose one of these"),
        ("first: {width: 12}", "1: first.width: should be a multiple of 8 (got 12); round it"),
        ("first: {width: 8.5}", "1: first.width: should be a whole number (got 8.5); write digits without quotes"),
        ("first:", "1: first: should be a section of keys (got null); write its keys below it, indented, or remove it"),
        (
            "first: {kind: restnet}",
            "1: first.kind: should be 'resnet' or 'mobilenet' (got \"restnet\"); did you mean 'resnet'?",
        ),
        (
            "first: {kind: vit}",
            "1: first.kind: should be 'resnet' or 'mobilenet' (got \"vit\"); choose one of these",
        ),
        ("name: forbidden", "1: name must not be 'forbidden'; choose another"),
        ("rate: 1\nname: a\nrate: 2", "3: rate: is given twice, first in line 1; remove one"),
        ("[a]: 1", "1: has a key that is not plain text; write a word"),
        ("rate: 1e999", "1: rate: cannot be read as float; write a plain value"),
        ("name: !!python/name:os.system x", "1: name: cannot be read as python/name:os.system; write a plain value"),
        ('name: "\\ud800"', "1: name: cannot be read as str; write a plain value"),
        ("[1, 2]", "1: should hold keys and values (got [1, 2]); write lines such as 'name: mine'"),
        ("just text", "1: should hold keys and values (got \"just text\"); write lines such as 'name: mine'"),
    ],
)
def test_a_mistake_is_told_with_line_key_value_and_next_step(problems, text, expected):
    assert f"config.yaml:{expected}" in problems(text)


def test_all_problems_come_together_in_the_order_of_the_lines(problems):
    text = "# a comment\nnmae: x\nrate: -1\nfirst:\n  width: 12\n  width: 16\nkernels: [4]\n"
    assert [re.match(r"config.yaml:(\d+): ([\w.\[\]]+):", line).groups() for line in problems(text)] == [
        ("2", "nmae"),
        ("3", "rate"),
        ("5", "first.width"),
        ("6", "first.width"),
        ("7", "kernels[0]"),
    ]


def test_a_missing_key_is_told_at_its_section(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("name: x\ncompress:\n  prune: [0.5]\n")
    with pytest.raises(UserError, match=r"recipe\.yaml:2: compress\.train: is missing; add it"):
        load_strict(path, Recipe)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "~"])
def test_an_empty_file_says_where_to_start(problems, text):
    assert "is empty; start from a shipped file" in problems(text)[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: [1\n", r"config.yaml:3: YAML error .*correct this line or the one before"),
        ("a: 1\n\tb: 2\n", r"config.yaml:2: YAML error .*'\\t'"),
        ("a: 1\n---\nb: 2", r"config.yaml:2: YAML error .*single document"),
        ("a: 1\nb: \x07", r"config.yaml:2: character '\\x07' is not allowed"),
        (b"a: 1\nb: \xff", r"config.yaml:2: is not UTF-8 \(byte 0xff\)"),
        ("name: \xfcber".encode("latin-1"), r"config.yaml:1: is not UTF-8 \(byte 0xfc\)"),
        ('a: "\\UFFFFFFFF"', r"config.yaml:1: has an invalid escape"),
        ("a: &x [1]\nb: *x", r"config.yaml:2: YAML error alias \*x is not read"),
    ],
)
def test_what_is_no_yaml_is_told_with_its_line(problems, text, expected):
    (line,) = problems(text)
    assert re.match(expected, line)


def test_exponential_aliases_are_refused_at_once(problems):
    bomb = "a: &a [x, x]\n" + "".join(f"{c}: &{c} [*{p}, *{p}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True))
    assert "alias *a" in problems(bomb)[0]


@pytest.mark.parametrize("text", ["[" * 500, "a: " + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "- " * 500])
def test_deep_nesting_is_refused(problems, text):
    assert any("nested too deeply" in line for line in problems(text))


def test_a_large_file_is_refused_unread(problems):
    assert "is larger than 1,000,000 bytes" in problems(b"#" * (MAX_BYTES + 1))[0]


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(UserError, match=r"absent\.yaml: no such file"):
        load_strict(tmp_path / "absent.yaml", Config)
    with pytest.raises(UserError, match=r"is a folder; name a \.yaml file in it"):
        load_strict(tmp_path, Config)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be read \(Not a directory\)"):
        load_strict(tmp_path / "file" / "x.yaml", Config)


TEXTS = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), max_size=10)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
TREES = st.dictionaries(
    TEXTS,
    st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner), max_leaves=8),
    min_size=1,
    max_size=4,
)
ONE_FOLDER = settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@ONE_FOLDER
@given(tree=TREES)
def test_json_reads_as_json_does(tmp_path, tree):
    path = tmp_path / "tree.yaml"
    path.write_text(json.dumps(tree, ensure_ascii=False), encoding="utf-8")
    document = read_yaml(path)
    assert document.problems == ()
    assert repr(document.values) == repr(json.loads(path.read_text(encoding="utf-8")))  # repr: 1 is not 1.0 or True


@ONE_FOLDER
@given(text=st.text(st.sampled_from('ab: -[]{}&*!|>"%#\n\t\\ud8019?,.e_~'), max_size=40))
@example('? - a\n: - b\n"\\ud800": 1')
def test_any_text_is_a_profile_or_a_user_error(tmp_path, text):
    path: Path = tmp_path / "any.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        load_strict(path, HardwareProfile)
    except UserError as error:
        assert all(line.startswith(f"{path}:") for line in str(error).splitlines())  # noqa: PT017
