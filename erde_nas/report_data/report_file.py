"""pareto.json: the report of a run. Here alone it is written and read."""

import json
from functools import partial
from pathlib import Path

from erde_nas.errors import UserError
from erde_nas.files import read_versioned
from erde_nas.report_data.json_records import from_json, to_json
from erde_nas.report_data.report import SCHEMA, Report

FILE = "pareto.json"
MANIFEST = "manifest.json"  # of a run
REMEDY = "give the run's `erde-nas search` command again: it keeps what was measured and writes the report anew"


def report_json(report: Report) -> str:
    """The text of the file: strict JSON."""
    return json.dumps(to_json(report), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def read_report(folder: Path) -> Report:
    """The report in a run's folder. Raises UserError where there is none, or one that cannot be read."""
    if not (folder / FILE).is_file():
        begun = (folder / MANIFEST).is_file()
        known = "holds a run without a report yet; continue it" if begun else "holds no run; start one"
        raise UserError(f"{folder} {known} with `erde-nas search RECIPE --out {folder}`")
    return read_versioned(folder / FILE, SCHEMA, partial(from_json, Report), REMEDY)
