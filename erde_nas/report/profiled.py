"""The table of `erde-nas profile`: one row per file and hardware profile, ratios and remarks below."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

from tabulate import tabulate

from erde_nas.report.units import MISSING
from erde_nas.report_data.uncertainty import NOISY, WIDE, doubts, known, uncertainty

HEADERS = ["profile", "file", "precision", "ms per exit", "expected ms", "mean ms (95% CI)", "p50", "p95", "p99", "MB"]
Rows = Sequence[dict[str, Any]]


def profile_table(rows: Rows) -> str:
    """The rows as text."""
    cells, notes = profile_parts(rows)
    return "\n".join([tabulate(cells, headers=HEADERS, disable_numparse=True), *notes])


def profile_parts(rows: Rows) -> tuple[list[list[str]], list[str]]:
    """Cells of the table below `HEADERS`, and the notes below it. A row with `error` is said elsewhere."""
    measured = [row for row in rows if "error" not in row]
    return [_cells(row) for row in measured], list(_notes(measured))


def _cells(row: dict[str, Any]) -> list[str]:
    interval, memory = row["interval"], row["memory_bytes"]
    ms, mark = partial(_ms, uncertain=_uncertain(row)), "!" if _doubts(row) else ""
    timed = row["mean"] is not None
    mean = ms(row["mean"]) + (mark if timed else "")
    mean += f" ({ms(interval[0])}-{ms(interval[1])})" if interval else ""
    return [
        row["profile"],
        row["file"],
        row["precision"],
        "  ".join(map(ms, row["per_exit"])),
        ms(row["expected_mean"]) + ("" if timed else mark),
        mean,
        *(ms(row[key]) for key in ("p50", "p95", "p99")),
        "-" if memory is None else f"{memory / 1e6:.1f}",
    ]


def _ms(value: float | None, uncertain: float = 0.0) -> str:
    return MISSING if value is None else known(value, uncertain)


@dataclass(frozen=True)
class _Timed:
    """What a row says of its mean: report_data/uncertainty.py."""

    mean: float | None
    p50: float | None
    p95: float | None
    interval: tuple[float, float] | None
    noisy: bool
    interrupted: float | None


def _timed(row: dict[str, Any]) -> _Timed:
    return _Timed(**{field.name: row[field.name] for field in fields(_Timed)})


def _doubts(row: dict[str, Any]) -> list[str]:
    """Reasons to doubt a row; without images its means are estimated from exits that may be noisy, too."""
    return doubts(_timed(row)) or ([WIDE] if row["noisy"] else [])


def _uncertain(row: dict[str, Any]) -> float:
    """How far its means may be off, relative to themselves: measured ones, or those of its exits."""
    return uncertainty(_timed(row)) or (NOISY if row["noisy"] and row["mean"] is None else 0.0)


def _ratio(row: dict[str, Any], doubtful: bool) -> str:
    """How many times as long; without an interval, `doubtful` latencies leave it roughly known."""
    ratio, ends = row["ratio"]["ratio"], row["ratio"]["interval"]
    if not ends:
        return f"roughly {known(ratio, 2 * NOISY)} times as long" if doubtful else f"{known(ratio, 0.0)} times as long"
    off = max(ends[1] / ratio - 1, 1 - ends[0] / ratio)
    return f"{known(ratio, off)} times as long (95% interval {known(ends[0], off)} to {known(ends[1], off)})"


def _notes(rows: Rows) -> Iterator[str]:
    for row in rows:
        if row.get("ratio"):
            doubtful = any(_doubts(other) for other in rows if other["profile"] == row["profile"])
            yield f"{row['profile']}: {row['file']} takes {_ratio(row, doubtful)}"
    for row in rows:
        for reason in _doubts(row):
            yield f"! {row['profile']}: {row['file']}: {reason}"
        if row.get("interrupted"):
            yield f"{row['profile']}: {row['file']}: {row['interrupted']:.1%} of the calls were interrupted, made again"
        if row["energy_mj"] is not None:
            energy = f"{row['energy_mj']:.3g} mJ an image, the package's idle included"
            yield f"{row['profile']}: {row['file']} takes {energy}"
    for row in rows:
        if row.get("caution"):
            yield f"{row['profile']}: {row['file']}: {row['caution']}"
    for profile, note in dict.fromkeys((row["profile"], row["note"]) for row in rows if row["note"]):
        yield f"{profile}: meanwhile {note}"
    if any(row["mean"] is None for row in rows):
        yield "expected ms: estimated from the cost of each exit and the file's exit shares; --images measures a stream"
    for profile, *setting in dict.fromkeys(
        (row["profile"], row["versions"], row["device"], row["threads"], row["batch_size"]) for row in rows
    ):
        versions, device, threads, batch = setting
        yield f"{profile}: {versions}, {device}, {threads} thread(s), batch {batch}"
    yield "MB: memory at the peak beyond that of the process before, the runtime's session included"
