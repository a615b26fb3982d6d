"""What a search finds out about a candidate, as records, and the JSON of `study.db` and `metrics.json`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, PlainSerializer, TypeAdapter

from erde_nas.files import checked, read_json
from erde_nas.networks.arch import Arch

STRICT = ConfigDict(extra="forbid")
ArchJson = Annotated[Arch, PlainSerializer(Arch.to_dict)]
MEASURED = ("arch", "latency_per_exit_ms", "seconds")  # of the JSON, besides the fields of `Judged`


@dataclass(frozen=True)
class Judged:
    """What a trained network is on validation, at the operating point that the search chose for it.

    Sizes are in bytes; `macs` and `latency_ms`, by profile, are those that are to be expected of an
    image. `objective_ms` is what a profile's `objective` expects, where that is a quantile. `curve` holds (accuracy,
    cost) of every operating point worth having.
    """

    __pydantic_config__ = STRICT

    val_accuracy: float
    thresholds: tuple[float, ...]
    exit_fractions: tuple[float, ...]
    val_exit_accuracy: tuple[float, ...]
    macs: float
    macs_per_exit: tuple[int, ...]
    params: int
    size_bytes: int
    latency_ms: Mapping[str, float]
    curve: tuple[tuple[float, float], ...]
    objective_ms: Mapping[str, float] = field(default_factory=dict)

    def cost_ms(self, profile: str) -> float:
        """What is to be minimised under a profile."""
        return self.objective_ms.get(profile, self.latency_ms[profile])

    @property
    def best_accuracy(self) -> float:
        """At the most accurate thresholds."""
        return max(accuracy for accuracy, _ in self.curve)


@dataclass(frozen=True)
class Findings:
    """What was measured of an architecture: the milliseconds of leaving at each exit, by profile. What its trained
    network was judged to be, and the seconds that all of it took, unless the candidate failed."""

    __pydantic_config__ = STRICT

    arch: ArchJson
    latency_per_exit_ms: Mapping[str, tuple[float, ...]]
    judged: Judged | None = None
    seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values, all on one level."""
        values = _FINDINGS.dump_python(self, mode="json")
        judged = values.pop("judged") or {}
        if not judged.get("objective_ms"):
            judged.pop("objective_ms", None)
        return {key: value for key, value in {**values, **judged}.items() if value is not None}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> "Findings":
        """The inverse of `to_json`. Raises ValueError on other input."""
        measured = {key: value for key, value in values.items() if key in MEASURED}
        judged = {key: value for key, value in values.items() if key not in MEASURED}
        return _FINDINGS.validate_python({**measured, "judged": judged or None})


def read_arch(path: Path) -> Arch:
    """The architecture in an arch.json. Raises UserError for a damaged file."""
    return checked(path, lambda: _ARCH.validate_python(read_json(path)))


_ARCH = TypeAdapter(Arch)
_FINDINGS = TypeAdapter(Findings)
