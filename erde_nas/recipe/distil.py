"""The recipe's `distil` section: a loss by name, and every weight in it.

A name stands for a method, of the literature but for `kd+entropy`; the keys that a `Method` has too replace one part of
it, and the other keys are its weights.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Annotated, Literal, TypeVar

from pydantic import Field, JsonValue, ValidationError, model_validator

from erde_nas.networks.gradient_flow import GradientFlow
from erde_nas.recipe.section import Section, one_of
from erde_nas.registry import TERMS

NO_TERM = "none"
SelfDistillation = Literal["none", "last", "ensemble"]
Weight = Annotated[float, Field(ge=0)]
Temperature = Annotated[float, Field(gt=0)]
Temperatures = Annotated[tuple[Temperature, ...], Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Options = TypeVar("Options", bound=Section)


@dataclass(frozen=True)
class Method:
    """What is added to the cross-entropy of every exit."""

    term: str = "kd"  # distillation from the teacher
    erde: bool = False  # where the teacher is wrong, keep the entropy up
    wrong_weight: float = 1.0  # ERDE: what is left of the distillation there; the paper's is 0
    entropy_adaptive: bool = False  # EA-KD's weight per sample on the distillation
    logit_standardisation: bool = False  # LS: standardise both sides' logits before the distillation
    self_distillation: SelfDistillation = "none"  # the student's last exit, or all its exits, teach its exits


PARTS = ("term", "wrong_weight", "entropy_adaptive", "logit_standardisation", "self_distillation")  # keys of both
METHODS = {  # losses beside those that are one term alone
    "erde": Method(erde=True, wrong_weight=0.0),
    "ea-erde": Method(erde=True, wrong_weight=0.0, entropy_adaptive=True),
    "kd+entropy": Method(erde=True),  # ERDE that distils on all images
    "ce": Method(NO_TERM),
    "self": Method(NO_TERM, self_distillation="ensemble"),
    "self-last": Method(NO_TERM, self_distillation="last"),
    "ls": Method(logit_standardisation=True),
    "ea-ls": Method(entropy_adaptive=True, logit_standardisation=True),
    "mld+ls": Method("mld", logit_standardisation=True),
    "ea-mld+ls": Method("mld", entropy_adaptive=True, logit_standardisation=True),
}
ADAPTIVE = "ea-"  # before the name of a term: the loss with EA-KD's weight
TAKEN = {NO_TERM, *METHODS, *(f"{ADAPTIVE}{name}" for name in TERMS.built_in)}  # names that no plug-in may take


class Losses(Mapping[str, Method]):
    """What each loss stands for: METHODS, and each distillation term alone and with EA-KD's weight."""

    def __getitem__(self, name: str) -> Method:
        if name in METHODS:
            return METHODS[name]
        if name in TERMS:
            return Method(name)
        if name.startswith(ADAPTIVE) and (term := name.removeprefix(ADAPTIVE)) in TERMS:
            return Method(term, entropy_adaptive=True)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        yield from METHODS
        for name in TERMS:
            yield from (name, f"{ADAPTIVE}{name}")

    def __len__(self) -> int:
        return sum(1 for _ in self)


LOSSES = Losses()
LossName = Annotated[str, one_of(LOSSES, of=TERMS)]
TermName = Annotated[str, one_of(TERMS, NO_TERM)]


class DistilSection(Section):
    """The loss of the students."""

    later = (
        "ce_weight",
        "ea_temperature",
        "path_weight",
        "mld_temperatures",
        "mld_levels",
        "preset",
        "options",
        "head_gradient",
    )

    loss: LossName = "kd+entropy"
    """A loss by name. The paper's is `erde`."""
    term: TermName | None = None
    """Distillation term, instead of the one that the loss stands for."""
    wrong_weight: Share | None = None
    """What is left of the distillation where the teacher is wrong. null: as the loss says."""
    entropy_adaptive: bool | None = None
    """EA-KD's weight per image on the distillation. null: as the loss says."""
    logit_standardisation: bool | None = None
    """Standardise the logits before the distillation. null: as the loss says."""
    self_distillation: SelfDistillation | None = None
    """Exits learn from the student's last exit, or from all its exits. null: as the loss says."""

    preset: Literal["published"] | None = None
    """The authors' weights and training for a pair of networks of the literature."""

    temperature: Temperature = 3.0
    """Of the distillation."""
    ce_weight: Weight = 1.0
    """Of the cross-entropy."""
    kd_weight: Weight = 1.0
    """Of the distillation term."""
    kd_warmup: Share = 0.0
    """Share of the training over which `kd_weight` rises from 0."""
    self_weight: Weight = 1.0
    """Of the self-distillation."""
    exit_weights: Literal["uniform", "linear", "macs"] = "uniform"
    """Weights of the exits: equal, rising with the exit's number, or by MACs."""
    gradient_rescaling: bool = False
    """Balance the gradients of the exits (Li et al., ICCV 2019)."""
    head_gradient: Share = 1.0
    """Share of an early head's gradient that reaches the trunk. 0: none."""
    teacher_exits: Literal["matching", "nearest", "last"] = "matching"
    """Which of the teacher's exits teaches an exit."""

    # ERDE alone
    entropy_weight: Weight = 0.2
    """ERDE: of the entropy that is kept up where the teacher is wrong."""
    entropy_warmup: Share = 0.0
    """ERDE: share of the training over which `entropy_weight` rises from 0."""
    entropy_exits: Literal["all", "early"] = "all"
    """ERDE: exits whose entropy is kept up. A network with one exit has no such term."""

    ea_temperature: Temperature = 3.0
    """EA-KD: of its entropies. The paper takes 2 for ImageNet and transformer teachers."""
    feature_weight: Weight = 5.0
    """FCFD: of the features, besides the logits."""
    path_weight: Weight = 1.0
    """FCFD: of the logits of its mixed paths."""
    mld_temperatures: Temperatures | None = None
    """MLD: its temperatures. null: as published."""
    mld_levels: tuple[Weight, Weight, Weight] = (1.5, 0.5, 0.5)
    """MLD: weights of images, of pairs of images, and of pairs of classes."""
    dkd_alpha: Weight = 1.0
    """DKD: weight of the target class."""
    dkd_beta: Weight = 8.0
    """DKD: weight of the other classes."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Keys that the loss of a plug-in declares itself."""

    @model_validator(mode="after")
    def _options_of_the_term(self) -> "DistilSection":
        if self.options:
            self.options_as(TERMS[self.method.term].Options if self.method.term != NO_TERM else None)
        return self

    def options_as(self, declared: type[Options] | None) -> Options:
        """`options`, checked against the keys that a term declares. Raises ValueError that names what does not fit."""
        name = self.method.term
        if declared is None:
            raise ValueError(f"options are for the losses of plug-ins that declare some, not for '{name}'; remove them")
        try:
            return declared.model_validate_json(json.dumps(self.options), strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key, known = ".".join(map(str, first["loc"])), ", ".join(declared.model_fields)
            near = get_close_matches(key, declared.model_fields, n=1)
            step = f"did you mean '{near[0]}'?" if near else f"the loss '{name}' has {known}"
            if first["type"] != "extra_forbidden":
                step = f"{first['msg'].replace('Input should', 'it should')}, but is {json.dumps(first['input'])}"
            raise ValueError(f"options.{key} will not do: {step}") from None

    @property
    def level_temperatures(self) -> tuple[float, ...]:
        """MLD's temperatures: the authors' base of 4, or LS's of 2, beside the four that stand in their code."""
        if self.mld_temperatures is not None:
            return self.mld_temperatures
        return (2.0 if self.method.logit_standardisation else 4.0, 2.0, 3.0, 5.0, 6.0)

    @property
    def gradient_flow(self) -> GradientFlow:
        """How much of each exit's gradient reaches the trunk."""
        return GradientFlow(self.gradient_rescaling, self.head_gradient)

    @property
    def method(self) -> Method:
        """What `loss` stands for, with the keys that replace parts of it."""
        return replace(LOSSES[self.loss], **{k: v for k in PARTS if (v := getattr(self, k)) is not None})
