"""The report of a run: what was searched on what, the points that were found, and how they were measured."""

from dataclasses import dataclass, field
from typing import Any

from erde_nas.device.exit_rules import ENTROPY
from erde_nas.report_data.evidence import CurvePoint, TrainedStudent
from erde_nas.report_data.objectives import Objective
from erde_nas.report_data.point import Point
from erde_nas.report_data.screened import ScreenedPoint

SCHEMA = 1


@dataclass(frozen=True)
class DatasetFacts:
    """The data set, with images per split. Raises ValueError where a split does not count every class."""

    name: str
    classes: tuple[str, ...]
    train: int
    validation: int
    test: int
    image_shape: tuple[int, ...] = ()  # channels, height, width
    images_per_class: dict[str, tuple[int, ...]] = field(default_factory=dict)  # by split, in the order of `classes`
    remarks: tuple[str, ...] = ()  # what was taken for what, and what was left out

    def __post_init__(self) -> None:
        if any(len(counts) != len(self.classes) for counts in self.images_per_class.values()):
            raise ValueError("images_per_class must have a number for each of the classes")


@dataclass(frozen=True)
class ProfileFacts:
    """A hardware profile as it was when the run measured under it; profiles/*.yaml explain its keys."""

    runtime: str
    device: str
    threads: int
    precision: str
    batch_size: int
    name: str = ""
    description: str = ""
    target: str = "here"
    python: str = "python3"
    provider: str | None = None
    channel_multiple: int = 8
    objective: Objective = "mean"
    screen: bool = True
    measure: dict[str, int | float] = field(default_factory=dict)
    limits: dict[str, int | float | None] = field(default_factory=dict)
    match: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ExitRuleFacts:
    """What thresholds are held against, in words: reports of earlier versions mean the entropy."""

    name: str = ENTROPY.name
    text: str = ENTROPY.text  # to stand behind "the"
    unit: str = ENTROPY.unit

    @property
    def unit_text(self) -> str:
        """The unit in parentheses, to put behind a word; nothing where there is none."""
        return f" ({self.unit})" if self.unit else ""


@dataclass(frozen=True)
class SearchedTrial:
    """A trial of the search. Accuracy on validation; latencies in ms by profile, estimated from the exits' costs."""

    student: str
    state: str
    reason: str = ""  # why it failed
    val_accuracy: float | None = None
    macs: float | None = None
    params: int | None = None
    latency_ms: dict[str, float] | None = None
    shape: str = ""  # the architecture in words
    seconds: float | None = None  # that its evaluation took


@dataclass(frozen=True)
class SearchRanks:
    """Kendall's tau between the searched and the finished accuracy of `n` students, with its 95 % interval."""

    evaluator: str
    tau: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class LatencyModelFacts:
    """How well latency was predicted, cross-validated over `n` measured candidates. Errors are shares."""

    n: int
    median_error: float
    p95_error: float  # of first exits
    tau: float | None
    tau_low: float | None
    tau_high: float | None
    skipped: int  # candidates that were neither measured nor trained, because of a prediction


@dataclass(frozen=True)
class CheckedCandidate:
    """Validation accuracies of one candidate of a rank check; None where a training failed or was not wanted."""

    student: str
    one_shot: float | None = None
    brief: float | None = None
    full: float | None = None


@dataclass(frozen=True)
class CheckedRanks:
    """Kendall's tau between two evaluations of `n` candidates, with its 95 % interval."""

    first: str
    second: str
    tau: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class RankCheck:
    """What a rank check found."""

    candidates: tuple[CheckedCandidate, ...]
    correlations: tuple[CheckedRanks, ...]


@dataclass(frozen=True)
class TeacherCheck:
    """Validation accuracy of the teacher, and of a student without it (None: its training failed)."""

    teacher: float
    student: float | None
    trusted: bool


@dataclass(frozen=True)
class DeviceFacts:
    """Another machine that measured. `versions` are those of the runtimes there."""

    cpu: str = ""
    cores: int = 0
    accelerators: tuple[str, ...] = ()
    platform: str = ""
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Environment:
    """This machine, the packages, and the seconds that each stage took."""

    python: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    cpu: str = ""
    cores: int = 0
    accelerators: tuple[str, ...] = ()
    platform: str = ""
    devices: dict[str, DeviceFacts] = field(default_factory=dict)  # by profile
    timings_s: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """What pareto.json holds. `teacher` is None where the run was interrupted before anything was measured."""

    schema: int
    objectives: tuple[str, ...]
    dataset: DatasetFacts
    teacher: Point | None
    baselines: tuple[Point, ...]
    points: tuple[Point, ...]
    hypervolume: dict[str, float]  # by front
    recipe: str = ""
    created: str = ""  # ISO 8601
    exit_rule: ExitRuleFacts = ExitRuleFacts()
    profiles: dict[str, ProfileFacts] = field(default_factory=dict)
    fronts: dict[str, tuple[int, ...]] = field(default_factory=dict)  # by profile, and "macs": indices into `points`
    estimated_fronts: dict[str, tuple[int, ...]] = field(default_factory=dict)  # while no student has been measured
    searched: tuple[SearchedTrial, ...] = ()
    rank_correlation: SearchRanks | None = None
    latency_model: dict[str, LatencyModelFacts] = field(default_factory=dict)  # by profile
    rank_check: RankCheck | None = None
    teacher_check: TeacherCheck | None = None
    own_teacher: tuple[str, ...] = ()  # remarks on a checkpoint of the user's
    environment: Environment = Environment()
    interrupted: bool = False
    unfinished: bool = False  # the run is at work, or was ended before it could write a report
    unmeasured: dict[str, str] = field(default_factory=dict)  # profiles whose device was lost, and how
    left_out: dict[str, str] = field(default_factory=dict)  # files without numbers, and why
    screened: tuple[ScreenedPoint, ...] = ()  # what a brief measurement ruled out, and why
    curves: dict[str, tuple[CurvePoint, ...]] = field(default_factory=dict)  # on validation, by file
    pictures: dict[str, str] = field(default_factory=dict)  # small copies of test images as data URIs, by place
    students: dict[str, TrainedStudent] = field(default_factory=dict)  # how they came to be

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"schema must be {SCHEMA}, but is {self.schema}")
        fronts = (*self.fronts.values(), *self.estimated_fronts.values())
        if any(not 0 <= index < len(self.points) for front in fronts for index in front):
            raise ValueError("fronts must be indices into points")
