"""Losses on the command line."""

import re

import pytest

from erde_nas.comparison.loss_names import parse_loss
from erde_nas.errors import UserError
from erde_nas.recipe.distil import LOSSES, DistilSection, Method

BASE = DistilSection(temperature=2.5, entropy_weight=0.4)


@pytest.mark.parametrize("name", LOSSES)
def test_every_name_keeps_the_recipes_weights(name: str) -> None:
    section = parse_loss(name, BASE)
    assert section.loss == name
    assert section.method == LOSSES[section.loss]
    assert (section.temperature, section.entropy_weight) == (2.5, 0.4)


def test_keys_after_the_name() -> None:
    section = parse_loss("erde:entropy_weight=0,term=dkd,entropy_adaptive=true,teacher_exits=last", BASE)
    assert section.entropy_weight == 0
    assert section.method == Method("dkd", erde=True, wrong_weight=0.0, entropy_adaptive=True)
    assert section.teacher_exits == "last"


def test_what_the_recipe_does_not_say_is_left_to_its_preset() -> None:
    section = parse_loss("ea-dkd:kd_warmup=0", DistilSection(preset="published", dkd_beta=2.0))
    assert section.model_fields_set == {"loss", "preset", "dkd_beta", "kd_warmup"}
    assert parse_loss("erde:preset=null", DistilSection(preset="published")).preset is None


def test_a_part_with_the_value_zero_replaces_too() -> None:
    assert parse_loss("kd+entropy:wrong_weight=0", BASE).method == LOSSES["erde"]


def test_what_the_recipe_replaces_in_its_own_loss_is_not_taken_over() -> None:
    base = DistilSection(loss="erde", term="dkd", entropy_adaptive=True)
    assert parse_loss("kd", base).method == Method()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("erd", "there is no loss 'erd'.*did you mean 'erde'"),
        ("hinton", "there is no loss 'hinton'.*ea-fcfd.*choose one of these"),
        ("erde:entropy_wieght=1", "'entropy_wieght=1' sets no key.*did you mean 'entropy_weight'"),
        ("erde:entropy_weight", "'entropy_weight' sets no key"),
        ("erde:loss=kd", "'loss=kd' sets no key"),
        ("erde:entropy_weight=-1", "entropy_weight=-1 will not do: it should be greater than or equal to 0"),
        ("kd:temperature=[", r"temperature=\[ will not do"),
        ("kd:temperature=2020-01-01", "temperature=2020-01-01 will not do"),
        ("kd:temperature=", "temperature= will not do"),
        ("kd:temperature=warm", "temperature=warm will not do: it should be a valid number"),
        ("kd:term=hints", "term=hints will not do: .*'kd'.*'fcfd'"),
    ],
)
def test_mistakes_are_named(text: str, said: str) -> None:
    with pytest.raises(UserError, match=f"--loss {re.escape(text)}: .*{said}"):
        parse_loss(text, BASE)
