"""The table of `erde-nas profile`: one row per file and hardware profile, ratios and remarks below."""

from collections.abc import Iterator, Sequence
from typing import Any

from tabulate import tabulate

HEADERS = ["profile", "file", "precision", "ms per exit", "expected ms", "mean ms (95% CI)", "p50", "p95", "p99", "MB"]
Rows = Sequence[dict[str, Any]]


def profile_table(rows: Rows) -> str:
    """The rows of `commands.profile` as text. A row with `error` is said elsewhere."""
    measured = [row for row in rows if "error" not in row]
    table = tabulate(map(_cells, measured), headers=HEADERS, disable_numparse=True)
    return "\n".join([table, *_notes(measured)])


def _cells(row: dict[str, Any]) -> list[str]:
    interval = row["interval"]
    mean = _ms(row["mean"]) + (f" ({_ms(interval[0])}-{_ms(interval[1])})" if interval else "")
    memory = row["memory_bytes"]
    return [
        row["profile"],
        row["file"],
        row["precision"],
        "  ".join(map(_ms, row["per_exit"])),
        _ms(row["expected_mean"]),
        mean,
        *(_ms(row[key]) for key in ("p50", "p95", "p99")),
        "-" if memory is None else f"{memory / 1e6:.1f}",
    ]


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _notes(rows: Rows) -> Iterator[str]:
    for row in rows:
        if ratio := row.get("ratio"):
            ends = ratio["interval"]
            around = f" (95% interval {ends[0]:.3f} to {ends[1]:.3f})" if ends else ""
            yield f"{row['profile']}: {row['file']} takes {ratio['ratio']:.3f} times as long{around}"
    for row in rows:
        if row["noisy"]:
            yield f"{row['profile']}: {row['file']} is noisy: its interval was still wide when the allowance ended"
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
