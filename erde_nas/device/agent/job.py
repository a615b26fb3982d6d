"""The agent's job and its answer, as both sides know them: written by one as JSON, read and checked by the other.

It needs nothing but Python, because it works where the runtime runs.
"""

import base64
import json
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from erde_nas.device.agent.json_records import DamagedRecord, Positive, Threshold, parse, read

JOB_FILE = "job.json"


@dataclass(frozen=True)
class Timed:
    """A deployable to be timed: every exit, and a stream of images for each list of thresholds (exits - 1)."""

    key: str
    precision: str
    files: tuple[str, ...]
    exits: int
    streams: tuple[tuple[Threshold, ...], ...]
    exit_rule: str = "entropy"


@dataclass(frozen=True)
class Job:
    """What the agent does. Files are named relative to the job's folder, in which it is JOB_FILE itself."""

    runtime: str
    threads: int
    device: str
    provider: str | None
    batch_size: int
    images: str  # (n, channels, h, w) uint8, as numpy saves them
    calls: int  # whole batches among them
    reference: tuple[str, ...]
    reference_shape: tuple[int, ...]  # (channels, h, w)
    warmup_calls: int
    calls_per_block: int
    blocks: int
    passes: int  # of a stream
    memory: bool  # whether peak memory and energy are wanted
    answers: int  # images of which every exit's logits are wanted
    models: tuple[Timed, ...]

    def write(self, folder: Path) -> Path:
        """Write it into its folder."""
        path = folder / JOB_FILE
        path.write_text(json.dumps(asdict(self)))
        return path

    def once_more(self, keys: Collection[str]) -> "Job":
        """The same of some of its models for another process, which need not do what is done once."""
        models = tuple(model for model in self.models if model.key in keys)
        return replace(self, memory=False, answers=0, models=models)


def read_job(folder: Path) -> Job:
    """The job in a folder. Raises DamagedRecord."""
    try:
        job = read(Job, parse((folder / JOB_FILE).read_text()))
        for name in ("threads", "batch_size", "calls", "calls_per_block", "blocks", "passes"):
            _above_zero(getattr(job, name), name)
        for model in job.models:
            _above_zero(model.exits, f"{model.key}: exits")
            for number, thresholds in enumerate(model.streams):
                _same(len(thresholds), model.exits - 1, f"{model.key}: streams[{number}]")
    except (DamagedRecord, UnicodeDecodeError) as error:
        raise DamagedRecord(f"the job's {JOB_FILE} is damaged: {error}") from error
    return job


@dataclass(frozen=True)
class StreamTimes:
    """Each call's time in units of the reference (passes, calls), the exit of every image, and joules per call."""

    ratios: tuple[tuple[Positive, ...], ...]
    exit_index: tuple[int, ...]
    joules: Positive | None = None


@dataclass(frozen=True)
class PeakMemory:
    """Bytes that a process held before it loaded a file, and at its peak."""

    before: int
    peak: int


@dataclass(frozen=True)
class Interruptions:
    """How many calls were timed, the reference's included, and how many of them something interrupted."""

    calls: int
    interrupted: int


@dataclass(frozen=True)
class Times:
    """What one process found of one file. `exits` are ratios to the reference (exits, blocks)."""

    exits: tuple[tuple[Positive, ...], ...]
    streams: tuple[StreamTimes, ...]
    interrupted: Interruptions
    memory: PeakMemory | None = None
    logits: str | None = None  # float32 (exits, images, classes) in base64


@dataclass(frozen=True)
class Disturbance:
    """What else used the machine meanwhile, as far as it says: runnable threads in the mean (this one included), the
    share of time that the hypervisor took, the lowest and the highest clock rate."""

    cores: int | None
    runnable: float | None = None
    steal: float | None = None
    mhz: tuple[float, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What one process of the agent found. `versions` are those of the packages that ran the files."""

    versions: dict[str, str]
    contention: Disturbance
    reference_ms: tuple[Positive, ...]
    models: dict[str, Times]


@dataclass(frozen=True)
class Failure:
    """Why the agent gives no answer. `error` is the kind: python, module, disk or runtime."""

    error: str
    text: str


def read_answer(value: object, job: Job) -> Answer:
    """The answer to `job`. Raises DamagedRecord where it is none."""
    answer = read(Answer, value)
    if not answer.reference_ms:
        raise DamagedRecord("reference_ms is empty")
    if missing := {model.key for model in job.models} ^ answer.models.keys():
        raise DamagedRecord(f"models: {sorted(missing)[0]!r} is missing, or was not asked for")
    for model in job.models:
        for place, found, wanted in _lengths(answer.models[model.key], model, job):
            _same(found, wanted, f"models.{model.key}.{place}")
    return answer


def _lengths(times: Times, model: Timed, job: Job) -> Iterator[tuple[str, int, int]]:
    """Places of what was found of a file, the lengths there, and what they must be."""
    yield "exits", len(times.exits), model.exits
    yield from ((f"exits[{i}]", len(blocks), job.blocks) for i, blocks in enumerate(times.exits))
    yield "streams", len(times.streams), len(model.streams)
    for i, stream in enumerate(times.streams):
        yield f"streams[{i}].ratios", len(stream.ratios), job.passes
        yield from ((f"streams[{i}].ratios[{j}]", len(calls), job.calls) for j, calls in enumerate(stream.ratios))
        yield f"streams[{i}].exit_index", len(stream.exit_index), job.calls * job.batch_size
        if beyond := [exit_ for exit_ in stream.exit_index if exit_ >= model.exits]:
            raise DamagedRecord(f"models.{model.key}.streams[{i}].exit_index: there is no exit {beyond[0]}")
    if times.logits is not None:
        try:
            size = len(base64.b64decode(times.logits, validate=True))
        except ValueError as error:
            raise DamagedRecord(f"models.{model.key}.logits are not in base64 ({error})") from error
        yield "logits", size % 4, 0


def _same(found: int, wanted: int, where: str) -> None:
    if found != wanted:
        raise DamagedRecord(f"{where} must hold {wanted} values, but holds {found}")


def _above_zero(number: int, where: str) -> None:
    if not number:
        raise DamagedRecord(f"{where} must be above zero")
