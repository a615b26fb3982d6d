"""The recipe's `search` and `supernet`: how candidates are proposed, trained and judged."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from erde_nas.recipe.distil import Weight
from erde_nas.recipe.optimizer import OptimizerSection
from erde_nas.recipe.section import Positive, Section, Seed, one_of
from erde_nas.registry import OBJECTIVES, SEARCHERS


class SearchSection(Section):
    """How candidates are proposed and judged."""

    searcher: Annotated[str, one_of(SEARCHERS)] = "surrogate"
    """Who proposes candidates."""
    evaluator: Literal["train", "supernet"] = "train"
    """Train each candidate, or cut it from a supernet that is trained once."""
    trials: Positive | None = 24
    """Candidates, at most. null: no such limit."""
    hours: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Hours for the whole run. What finishing needs is kept back."""
    patience: Positive | None = None
    """The search ends when so many candidates in a row do not raise the front's hypervolume."""
    seed: Seed = 0
    """Of the whole run: proposals, first weights, augmentation."""
    population: Annotated[int, Field(ge=2, le=100_000)] = 8
    """Candidates of a generation."""
    objectives: tuple[Annotated[str, one_of(OBJECTIVES)], ...] = ("error", "latency")
    """What is minimised: `error` and at least one cost. `latency` is one objective per profile."""
    latency_of: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Profiles whose latency is minimised. null: all of them."""
    check_teacher: bool = True
    """Where a middling student is better without the teacher, all students learn without it."""
    rank_check: Annotated[int, Field(ge=0, le=10**9)] = 0
    """Candidates trained in full at the end, to see how well the search ranked them. 0: none."""
    accuracy_tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.005
    """A candidate counts with its cheapest thresholds within this of its best accuracy."""

    @property
    def budget(self) -> str:
        """When the search ends, in words."""
        bounds = (("{} trials", self.trials), ("{:g} hours", self.hours), ("patience of {} trials", self.patience))
        return ", ".join(text.format(value) for text, value in bounds if value is not None)

    @model_validator(mode="after")
    def _some_end(self) -> "SearchSection":
        if self.trials is None and self.hours is None and self.patience is None:
            raise ValueError("trials: null needs hours or patience, or the search would never end")
        return self

    @model_validator(mode="after")
    def _enough_to_rank(self) -> "SearchSection":
        if self.rank_check in (1, 2):
            raise ValueError(f"rank_check must be 0 or at least 3 candidates (20 say something), got {self.rank_check}")
        return self

    @model_validator(mode="after")
    def _error_and_a_cost(self) -> "SearchSection":
        if (
            "error" not in self.objectives
            or len(set(self.objectives)) < 2
            or len(set(self.objectives)) != len(self.objectives)
        ):
            raise ValueError(
                f"objectives must hold error and at least one cost, none twice, but got {list(self.objectives)}"
            )
        return self


class SupernetSection(Section):
    """`evaluator: supernet`: one training per family of the space, of which every candidate is a slice."""

    train: OptimizerSection = OptimizerSection(epochs=20)
    """How the supernet is trained. All keys but `lookahead`."""
    random: Annotated[int, Field(ge=0, le=1000)] = 2
    """Sub-networks drawn in each step, besides the largest and the smallest."""
    inplace_weight: Weight = 0.2
    """Weight of what the other sub-networks learn from the largest."""
    norm_images: Positive = 1024
    """Training images from which a candidate's batch norms take their statistics."""

    @model_validator(mode="after")
    def _no_slow_weights(self) -> "SupernetSection":
        if self.train.lookahead:
            raise ValueError(f"supernet.train has no lookahead, but got {self.train.lookahead}; remove it")
        return self
