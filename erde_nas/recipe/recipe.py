"""search/*.yaml -> Recipe. YAML ends here: the rest of the program sees these frozen, checked values."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from erde_nas.networks.families import family_of
from erde_nas.recipe.compress import CompressOptions
from erde_nas.recipe.distil import NO_TERM, DistilSection, Share, Weight
from erde_nas.recipe.network import Expansion, Family, Head, Kernel, NetworkSection, Stride, StudentSection, Width
from erde_nas.recipe.normalisation import USUAL
from erde_nas.recipe.published import published
from erde_nas.recipe.section import Positive, Section, one_of
from erde_nas.registry import DATASETS, EXIT_RULES, OBJECTIVES, SEARCHERS, TERMS

Fraction = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
LEFT_OPEN = 10**9  # epochs that a preset will say


def takers(key: str) -> str:
    """The data sets that take a key of the section, in words."""
    return " and ".join(name for name in DATASETS if key in DATASETS[name].keys)


class DatasetSection(Section):
    """Which images, and how they are split."""

    later = ("channels",)

    name: Annotated[str, one_of(DATASETS)]
    path: str | None = None  # folder and npz: where the images are
    image_size: Annotated[int, Field(ge=8, le=512)] | None = None  # folder: resize to this
    channels: Literal[1, 2, 3, 4] | None = None  # folder: gray, gray and alpha, RGB, RGB and alpha; None: 1 or 3
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.1  # share of train kept for search and thresholds; 0: none
    test: Fraction = 0.2  # share kept for test, where the data set has no test split of its own
    train_limit: Positive | None = None  # use at most this many training images
    stream: Literal["auto", "always", "never"] = "auto"  # folder: read images while they are used; auto: if many
    seed: Seed = 0

    @model_validator(mode="after")
    def _path_where_needed(self) -> "DatasetSection":
        keys = DATASETS[self.name].keys
        if "path" in keys and self.path is None:
            raise ValueError(f"data set '{self.name}' needs path: say where the images are")
        if "path" not in keys and self.path is not None:
            raise ValueError(f"path belongs to {takers('path')}, not to '{self.name}'; use --data-dir")
        if "channels" not in keys and self.channels is not None:
            raise ValueError(
                f"channels belongs to {takers('channels')}, not to '{self.name}', whose images say how many they have"
            )
        return self


def _flip(value: Any) -> Any:
    if isinstance(value, bool) or value == "alternating":
        return value
    raise ValueError(f"should be true, false or alternating (got {value!r})")


# Checked by hand: pydantic would answer a mistake with an error for each part of the union.
Flip = Annotated[bool | Literal["alternating"], PlainValidator(_flip), PlainSerializer(lambda flip: flip)]


class ViewsSection(Section):
    """Augmentation, made once per view for all candidates."""

    later = ("crop_fill",)

    crop_padding: Annotated[int, Field(ge=0)] = 0
    crop_fill: Literal["zeros", "reflect"] = "zeros"  # what the padding holds: black, or the image mirrored
    flip: Flip = False  # or alternating: each image is mirrored in every second view, half of them in the first
    cutout: Annotated[int, Field(ge=0)] = 0
    cached_views: Positive = 8  # different views of each training image; epochs cycle through them


class OptimizerSection(Section):
    """SGD with Nesterov momentum and a one-cycle learning rate, a triangular one, or one with steps at `milestones`."""

    later = (
        "milestones",
        "gamma",
        "nesterov",
        "schedule",
        "label_smoothing",
        "lookahead",
        "decay_norms",
        "bias_rate",
    )

    epochs: Positive
    batch_size: Positive = 128
    learning_rate: Annotated[float, Field(gt=0)] = 0.1  # the highest
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    milestones: tuple[Positive, ...] | None = None  # epochs after which the rate falls; []: never; null: one cycle
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1  # what is left of the rate after each milestone
    nesterov: bool = True
    schedule: Literal["one-cycle", "triangular"] = "one-cycle"  # docs/teacher.md: these and what follows
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0  # of the label that every class shares
    lookahead: Annotated[int, Field(ge=0)] = 0  # steps after which slow weights take the trained ones' place; 0: never
    decay_norms: bool = True  # whether weight decay holds for biases and the scales of norms, too
    bias_rate: Annotated[float, Field(gt=0)] = 1.0  # learning rate of biases outside of heads, as a multiple

    @model_validator(mode="after")
    def _one_schedule(self) -> "OptimizerSection":
        if self.milestones is not None and self.schedule != "one-cycle":
            raise ValueError(f"schedule: {self.schedule} has no milestones; remove either")
        return self

    @model_validator(mode="after")
    def _rising_milestones(self) -> "OptimizerSection":
        marks = self.milestones or ()
        if list(marks) != sorted(set(marks)):
            raise ValueError(f"milestones must rise, but got {list(marks)}")
        if marks and marks[-1] >= self.epochs:
            raise ValueError(f"milestones must lie before the last of {self.epochs} epochs, but got {list(marks)}")
        return self

    def lasting(self, epochs: int) -> "OptimizerSection":
        """The same training over so many epochs, with its milestones at the same shares of it."""
        marks = {round(mark * epochs / self.epochs) for mark in self.milestones or ()}
        kept = tuple(sorted(mark for mark in marks if 0 < mark < epochs))
        return self.model_copy(update={"epochs": epochs, "milestones": None if self.milestones is None else kept})


ClassName = Annotated[str, BeforeValidator(lambda name: str(name) if type(name) is int else name)]


class TeacherSection(NetworkSection):
    """The early-exit teacher: trained here, or the user's own checkpoint."""

    of_checkpoint: ClassVar = ("mean", "std", "normalisation", "classes")  # how it was trained
    later = (*of_checkpoint, "head_gradient", "strides")

    checkpoint: str | None = None  # a file: a network of this project, a torch.export program, or weights of timm's
    timm: str | None = None  # the model of timm that the checkpoint belongs to; needs the extra timm
    mean: tuple[float, ...] | None = None  # checkpoint: per channel, of pixels in [0, 1]; null: the data set's
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    normalisation: Annotated[str, one_of(USUAL)] | None = (
        None  # checkpoint: instead of mean and std, a usual one by name
    )
    classes: tuple[ClassName, ...] | None = None  # checkpoint: the names of its outputs, in their order
    stem: Width = 32
    depths: tuple[Positive, ...] = (2, 2, 2)
    widths: tuple[Width, ...] = (32, 64, 128)
    head: Head = "gap"
    head_gradient: Share = 1.0  # share of an early head's gradient that reaches the trunk; 0: it learns from the last
    train: OptimizerSection = OptimizerSection(epochs=30)

    @model_validator(mode="after")
    def _weights_for_timm(self) -> "TeacherSection":
        if self.timm is not None and self.checkpoint is None:
            raise ValueError(f"timm: {self.timm} needs checkpoint: the file with its weights; nothing is downloaded")
        return self

    @model_validator(mode="after")
    def _how_a_checkpoint_was_trained(self) -> "TeacherSection":
        said = [key for key in self.of_checkpoint if getattr(self, key) is not None]
        if said and self.checkpoint is None:
            raise ValueError(f"{', '.join(said)} belongs to a checkpoint of your own; add checkpoint, or remove it")
        if (self.mean is None) != (self.std is None):
            raise ValueError(f"mean and std belong together, but {'std' if self.std is None else 'mean'} is missing")
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            raise ValueError(f"mean and std need one number per channel, but hold {len(self.mean)} and {len(self.std)}")
        if self.mean is not None and max(self.mean, default=0.0) > 1:
            raise ValueError("mean and std are those of pixels scaled to [0, 1]; divide both by 255")
        if self.mean is not None and self.normalisation is not None:
            raise ValueError(f"normalisation: {self.normalisation} says what mean and std would say; remove either")
        return self


class SpaceSection(Section):
    """What may vary between students. Lists hold the choices; depths, widths and strides have one list per stage."""

    later = ("strides", "exits", "first_exit_stage")

    families: tuple[Family, ...] = ("resnet", "mobilenet")
    stems: tuple[Width, ...] = (8, 16)
    stem_strides: tuple[Literal[1, 2, 4], ...] = (1,)  # of the first convolution in images of at most 48 pixels
    depths: tuple[tuple[Positive, ...], ...]
    widths: tuple[tuple[Width, ...], ...]
    strides: tuple[tuple[Stride, ...], ...] | None = None  # of each stage's first block; null: 1, then 2 in each later
    kernels: tuple[Kernel, ...] = (3,)  # mobilenet and shufflenet: of the depthwise convolution
    expansions: tuple[Expansion, ...] = (2, 4)  # mobilenet
    heads: tuple[Head, ...] = ("erde", "gap", "conv")
    max_exits: Annotated[int, Field(ge=1, le=8)] = 4  # the last one included
    exits: Literal["any", "stage-ends"] = "any"  # blocks that may carry an early exit
    first_exit_stage: Annotated[int, Field(ge=0)] = 0  # stages before it, counted from 0, carry none

    @model_validator(mode="after")
    def _choices_everywhere(self) -> "SpaceSection":
        if len(self.depths) != len(self.widths) or not self.depths:
            raise ValueError(
                "depths and widths need one list of choices per stage, "
                f"but got {len(self.depths)} and {len(self.widths)}"
            )
        named = {
            key: getattr(self, key) for key in ("families", "stems", "stem_strides", "kernels", "expansions", "heads")
        }
        named |= {f"depths[{i}]": c for i, c in enumerate(self.depths)}
        named |= {f"widths[{i}]": c for i, c in enumerate(self.widths)}
        named |= {f"strides[{i}]": c for i, c in enumerate(self.strides or ())}
        for key, choices in named.items():
            if not choices or len(set(choices)) != len(choices):
                raise ValueError(f"{key} must hold at least one choice and none twice, but got {list(choices)}")
        return self

    @model_validator(mode="after")
    def _stages_that_differ(self) -> "SpaceSection":
        if self.strides is None:
            return self
        if len(self.strides) != len(self.depths):
            raise ValueError(
                f"strides needs one list of choices per stage, but {len(self.strides)} are for {len(self.depths)}"
            )
        for stage in range(1, len(self.strides)):
            both = sorted(set(self.widths[stage - 1]) & set(self.widths[stage]))
            if 1 in self.strides[stage] and both:
                raise ValueError(
                    f"a stage that keeps the resolution needs other widths than the one before it, but widths[{stage}] "
                    f"and widths[{stage - 1}] both hold {', '.join(map(str, both))}; more blocks of the same width "
                    f"belong into depths[{stage - 1}]"
                )
        return self

    @model_validator(mode="after")
    def _room_for_exits(self) -> "SpaceSection":
        last = len(self.depths) - (2 if self.exits == "stage-ends" else 1)
        if self.max_exits > 1 and self.first_exit_stage > max(0, last):
            raise ValueError(
                f"first_exit_stage must be at most {max(0, last)}, or no block is left for an early exit, but is "
                f"{self.first_exit_stage}; or set max_exits: 1"
            )
        return self


class SearchSection(Section):
    """How candidates are proposed and judged."""

    searcher: Annotated[str, one_of(SEARCHERS)] = "surrogate"  # docs/search.md says why
    evaluator: Literal["train", "supernet"] = "train"  # supernet: candidates are slices of weights trained once
    trials: Positive | None = 24  # candidates at most
    hours: Annotated[float, Field(gt=0)] | None = None  # for the whole run; what finishing needs is kept back
    patience: Positive | None = None  # candidates in a row that do not raise the front's hypervolume, before it ends
    seed: Seed = 0
    population: Annotated[int, Field(ge=2)] = 8
    objectives: tuple[Annotated[str, one_of(OBJECTIVES)], ...] = ("error", "latency")
    latency_of: Annotated[tuple[str, ...], Field(min_length=1)] | None = None  # profiles; null: every profile
    check_teacher: bool = True  # where a student is better without the teacher, all students learn without it
    rank_check: Annotated[int, Field(ge=0)] = 0  # candidates trained in full at the end, to see how well it ranked them
    accuracy_tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.005  # told: cheapest point within this of the best

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

    train: OptimizerSection = OptimizerSection(epochs=20)  # all keys but lookahead
    random: Annotated[int, Field(ge=0)] = 2  # sub-networks drawn in each step, besides the largest and the smallest
    inplace_weight: Weight = 0.2  # of what the others learn from the largest
    norm_images: Positive = 1024  # training images from which a candidate's batch norms take their statistics

    @model_validator(mode="after")
    def _no_slow_weights(self) -> "SupernetSection":
        if self.train.lookahead:
            raise ValueError(f"supernet.train has no lookahead, but got {self.train.lookahead}; remove it")
        return self


class FinishSection(Section):
    """The shortlist and its further training, by successive halving, and what its students are joined into."""

    later = ("cascades",)

    students: Positive = 4  # that are trained to the end
    rungs: Annotated[int, Field(ge=1, le=4)] = 2  # each starts with twice the students and half the epochs of the next
    train: OptimizerSection  # to the end, over all rungs; its epochs may be left to distil.preset
    cascades: bool = True  # pairs of finished networks are tried as cascades, without training; docs/cascades.md

    @field_validator("train", mode="wrap")
    @classmethod
    def _a_preset_may_say_the_epochs(cls, value: Any, check: ValidatorFunctionWrapHandler) -> OptimizerSection:
        if not isinstance(value, dict):
            return check(value)
        values = {key: tuple(v) if isinstance(v, list) else v for key, v in value.items()}  # as from JSON
        train: OptimizerSection = check({"epochs": LEFT_OPEN, **values})
        if "epochs" not in values:
            train.model_fields_set.discard("epochs")
        return train


class CompressSection(CompressOptions):
    """Pruning and quantization, with the training that they need."""

    train: OptimizerSection  # ERDE fine-tuning after pruning


class Recipe(Section):
    """One search, from the images to the report."""

    later = ("exit_rule",)

    name: str
    description: str = ""
    dataset: DatasetSection
    views: ViewsSection = ViewsSection()
    teacher: TeacherSection = TeacherSection()
    student: StudentSection | None = None  # for `erde-nas distil`
    space: SpaceSection
    distil: DistilSection = DistilSection()
    exit_rule: Annotated[str, one_of(EXIT_RULES)] = "entropy"  # when an image leaves at an exit; docs/exit_rules.md
    train: OptimizerSection
    search: SearchSection = SearchSection()
    supernet: SupernetSection = SupernetSection()
    finish: FinishSection
    compress: CompressSection
    profiles: Annotated[tuple[str, ...], Field(min_length=1)] = ("cpu-1thread",)

    @property
    def search_training(self) -> OptimizerSection:
        """How the networks of the search are trained: each candidate, or the supernet that they are cut from."""
        return self.supernet.train if self.search.evaluator == "supernet" else self.train

    @model_validator(mode="after")
    def _a_known_preset(self) -> "Recipe":
        if self.distil.preset is not None:
            published(self.distil.loss, self.teacher.model, self.student.model if self.student else None)
        elif "epochs" not in self.finish.train.model_fields_set:
            raise ValueError("finish.train.epochs is missing; add it")
        return self

    @model_validator(mode="after")
    def _what_a_supernet_can_do(self) -> "Recipe":
        term = self.distil.method.term
        if self.search.evaluator == "supernet" and term != NO_TERM and TERMS[term].own_weights:
            raise ValueError(
                f"evaluator: supernet cannot train with the loss '{self.distil.loss}': its term '{term}' has "
                "weights that belong to one student; choose a loss on logits alone, such as kd+entropy, kd, dkd or mld"
            )
        several = [choices for choices in self.space.strides or () if len(choices) > 1]
        if self.search.evaluator == "supernet" and several:
            raise ValueError(
                "evaluator: supernet shares weights between students of one resolution, but a stage of space.strides "
                f"holds {list(several[0])}; leave one of them, or use evaluator: train"
            )
        if self.search.evaluator == "supernet" and len(self.space.stem_strides) > 1:
            raise ValueError(
                "evaluator: supernet shares weights between students of one resolution, but space.stem_strides holds "
                f"{list(self.space.stem_strides)}; leave one of them, or use evaluator: train"
            )
        whole = [name for name in self.space.families if not family_of(name).slices]
        if self.search.evaluator == "supernet" and whole:
            raise ValueError(
                f"evaluator: supernet cannot share the weights of {', '.join(whole)}, whose blocks split channels by "
                "their number; leave it out of space.families, or use evaluator: train"
            )
        return self


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe file. Raises UserError that lists every problem with file, line and key."""
    from erde_nas.recipe.strict_yaml import load_strict

    return load_strict(path, Recipe)
