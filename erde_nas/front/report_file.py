"""pareto.json: the report model of a run, of this version or an earlier one."""

from pathlib import Path
from typing import Any

from erde_nas.files import read_json
from erde_nas.front.point import without_label


def read_report(folder: Path) -> dict[str, Any]:
    """The report model in a run's folder. Raises UserError where it is damaged."""
    found = read_json(folder / "pareto.json")
    points = {key: [without_label(point) for point in found[key]] for key in ("baselines", "points")}
    teacher = found["teacher"]
    return {**found, **points, "teacher": None if teacher is None else without_label(teacher)}
