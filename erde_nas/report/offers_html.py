"""The answer of the page: what to ship in figures, the table of what is offered, and why the rest is not."""

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from erde_nas.report import html
from erde_nas.report.answer import (
    accuracy_change,
    change_text,
    export_command,
    leaving_early,
    speed_up_interval,
    trusted,
)
from erde_nas.report.architecture import shape_text
from erde_nas.report.columns import Column, full_columns
from erde_nas.report.points import (
    MACS,
    Row,
    comparison_rows,
    front_rows,
    offered_rows,
    profile_names,
    show_speed_up,
    speed_up_uncertainty,
    student_rows,
    teacher_latency,
    teacher_row,
)
from erde_nas.report.series import panel_title
from erde_nas.report.summary import Candidate, chosen
from erde_nas.report.tables import setting, table_notes, without_twins
from erde_nas.report.units import accuracy_with_ci, latency_unit, one_line, percent, size_unit
from erde_nas.report_data.point import MEDIAN_WORSE
from erde_nas.report_data.report import Report
from erde_nas.report_data.uncertainty import doubts_of_both, known, uncertainty

DOUBTFUL = ' class="doubtful"'


def key_figures(report: Report, folder: Path | str) -> str:
    """What the student of the answer gains and loses, a figure each, and the command that ships it."""
    best, teacher = chosen(report), teacher_row(report)
    if best is None or teacher is None:
        return ""
    row = best.row
    figures = [*_fast(report, best), _accurate(report, row, teacher), _small(row, teacher)]
    early = len(row.point.exit_fractions) > 1
    shares = " / ".join(percent(share, 0) for share in row.point.exit_fractions)
    at = f"{shares} % at each exit" if early else "one exit, at which every image leaves"
    figures.append(("Leaves early", leaving_early(row.point) if early else "–", at, False))
    cells = "".join(
        f'<div{DOUBTFUL if doubtful else ""}><dt>{escape(name)}</dt><dd class="big">{escape(value)}</dd>'
        f"<dd>{escape(text)}</dd></div>"
        for name, value, text, doubtful in figures
    )
    return f'<dl class="figures">{cells}</dl>\n{html.command(export_command(row, folder))}'


Figure = tuple[str, str, str, bool]  # a name, the value, what is to be known of it, whether it is in doubt


def _fast(report: Report, best: Candidate) -> list[Figure]:
    row, own = best.row, best.row.latency(best.profile)
    if own is None or own.mean is None:
        return []
    other, gain = teacher_latency(report, row, best.profile), speed_up_interval(report, best)
    doubtful = bool(doubts_of_both(own, other))
    unit = latency_unit([own.mean])
    figures: list[Figure] = []
    if gain is not None and other is not None and other.mean is not None and trusted(report):
        off = speed_up_uncertainty(report, row, best.profile)
        ends = f"95% interval {known(gain.low, off)} to {known(gain.high, off)}" if off else "as fast as the teacher"
        figures.append(("Speed-up", f"{known(gain.value, off)}×{'!' if doubtful else ''}", ends, doubtful))
    instead = f"teacher {unit.show_with_symbol(other.mean, uncertainty(other))}" if other and other.mean else ""
    under = f"measured, {one_line(best.profile)}"
    text = "; ".join(part for part in (instead, under) if part)
    mean = unit.show_with_symbol(own.mean, uncertainty(own))
    return [*figures, ("Mean latency", mean, text, doubtful)]


def _accurate(report: Report, row: Row, teacher: Row) -> Figure:
    change = accuracy_change(row.point, teacher.point) if trusted(report) else None
    text = "" if change is None else change_text(change).replace(" on test", "")
    return "Test accuracy", f"{percent(row.point.test_accuracy)}%", text, False


def _small(row: Row, teacher: Row) -> Figure:
    own, other = row.point.size_bytes, teacher.point.size_bytes
    text = f"teacher {size_unit([other]).show_with_symbol(other)}" if other else ""
    return "File", "-" if own is None else size_unit([own]).show_with_symbol(own), text, False


def offered_tables(report: Report) -> str:
    """A table for each profile, or one by MACs where nothing has been measured; students of which exits make the median
    worse may be hidden."""
    best = chosen(report)
    priced = [name for name in profile_names(report) if offered_rows(report, name)] or [MACS]
    priced.sort(key=lambda name: best is None or name != best.profile)  # that of the answer first
    tables = "\n".join(_offered(report, cost, len(priced) > 1) for cost in priced)
    offered = [point for point in report.points if point.offered]
    if not any(MEDIAN_WORSE in remark for point in offered for remark in point.remarks):
        return tables
    text = f"hide students of which {MEDIAN_WORSE}"
    return f'<p><label><input type="checkbox" data-hides="{MEDIAN_WORSE}"> {escape(text)}</label></p>\n{tables}'


def _offered(report: Report, cost: str, named: bool) -> str:
    offered = offered_rows(report, cost)
    front = front_rows(report, cost) or offered
    others = [row for row in offered if row not in front]
    compared, twins = without_twins(comparison_rows(report), offered)
    compared = [row for row in compared if cost == MACS or row.latency(cost)]
    rows = [*offered, *compared]
    heading = f"{panel_title(cost)}: {setting(report, cost)}" if cost != MACS else "By mean MACs"
    if not rows:
        return f"<h3>{escape(heading)}</h3>\n<p>No student yet.</p>"
    columns = {column.header: column for column in full_columns(report, cost, rows)}
    short = _short(report, cost, columns)
    best = chosen(report)
    bodies = [_body(row, short, columns, _kind(row, best, others)) for row in rows]
    more = (
        f'<p><label><input type="checkbox" data-shows="other"> show {len(others)} more, on other fronts</label></p>'
        if others
        else ""
    )
    notes = "\n".join(html.paragraph(note, "note") for note in (*table_notes(report, cost, rows), *twins))
    headers = tuple(column.header for column in short)
    return (
        f"<h3>{escape(heading)}</h3>\n{more}"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(heading)}">'
        f'<table class="offer" data-tools="{escape(f"offered-{panel_title(cost)}")}">'
        f"{html.head(headers, (False, *(True,) * (len(headers) - 1)))}\n{''.join(bodies)}</table></div>\n{notes}"
    )


def _kind(row: Row, best: Candidate | None, others: Sequence[Row]) -> str:
    if best is not None and row == best.row:
        return "best"
    return "compared" if row.kind != "student" else "other" if row in others else ""


def _short(report: Report, cost: str, columns: dict[str, Column]) -> list[Column]:
    """The six columns, or fewer: student, test accuracy, mean, speed-up, file size, what leaves early."""
    mean = next(c for h, c in columns.items() if h.startswith("mean MACs" if cost == MACS else "mean ("))
    tested = Column("test accuracy % (95% CI)", lambda row: accuracy_with_ci(row.point).replace("-", "–"))
    chosen_ = [columns["student"], tested, mean]
    if cost != MACS:
        chosen_.append(Column("speed-up", lambda row: show_speed_up(report, row, cost).replace("x", "×")))
    unit = size_unit([row.point.size_bytes for row in offered_rows(report, cost) if row.point.size_bytes])
    size = Column(f"file size ({unit.symbol})", lambda row: unit.show(row.point.size_bytes))
    return [*chosen_, size, Column("leaves early", lambda row: leaving_early(row.point))]


def _body(row: Row, short: Sequence[Column], columns: dict[str, Column], kind: str) -> str:
    """A row and, folded, everything else about it: a <tbody> of its own, so that both are sorted together."""
    stage = f" <small>{escape(row.stage)}</small>" if row.kind == "student" else ""
    tag = ' <span class="tag is-best">the answer</span>' if kind == "best" else ""
    name = (
        f'<th scope="row"><button type="button" class="fold" aria-expanded="false"><span>{escape(row.name)}{tag}{stage}'
        "</span></button></th>"
    )
    cells = "".join(
        f'<td class="right" data-label="{escape(column.header)}">{escape(column.cell(row))}</td>'
        for column in short[1:]
    )
    shown = ("student", "test accuracy", "mean (", "speed-up", "file size")
    rest = [(h, text) for h, c in columns.items() if not h.startswith(shown) and (text := c.cell(row)) not in ("", "-")]
    if row.point.exit_fractions:
        rest.insert(1, ("leave at each exit %", " / ".join(percent(share) for share in row.point.exit_fractions)))
    if shape := shape_text(row.point.arch):
        rest.append(("architecture", shape))
    look = (
        f'<button type="button" data-student="{escape(row.point.student)}">Look at this student</button>'
        if row.kind == "student"
        else ""
    )
    hidden = " hidden" if kind == "other" else ""
    marks = f'class="{kind}" ' if kind else ""
    return (
        f'<tbody {marks}{hidden.strip()}><tr class="row {kind}">{name}{cells}</tr>\n'
        f'<tr class="more" hidden><td colspan="{len(short)}">{html.facts(rest)}{look}</td></tr></tbody>\n'
    )


def not_offered(report: Report) -> str:
    """One line per student that is not offered, grouped by reason, each group folded."""
    groups: dict[str, dict[str, list[Row]]] = {}
    for row in student_rows(report):
        if not row.offered:
            reason = one_line(row.point.reason or "no reason recorded")
            groups.setdefault(_alike(reason), {}).setdefault(f"{row.name} ({row.stage})", []).append(row)
    parts = []
    for reason, students in sorted(groups.items(), key=lambda item: -len(item[1])):
        lines = "".join(_line(name, rows, reason) for name, rows in students.items())
        count = f"{len(students)} student{'s' if len(students) > 1 else ''}"
        parts.append(html.folded(f"{count}: {reason}", f'<ul class="reasons">{lines}</ul>'))
    return "\n".join(parts) or "<p>No student was held back.</p>"


def _alike(reason: str) -> str:
    """What reasons of one kind have in common: numbers are left out, and what follows a colon with numbers in it."""
    head, colon, rest = reason.partition(":")
    kept = head if colon and re.search(r"\d", rest) else reason
    return re.sub(r"(?<![\w.-])\d[\d.,]*(?![\w-])", "…", kept)


def _line(name: str, rows: Sequence[Row], reason: str) -> str:
    texts = dict.fromkeys(one_line(row.point.reason or "no reason recorded") for row in rows)
    own = "; ".join(text for text in texts if text != reason)
    count = f", {len(rows)} operating points" if len(rows) > 1 else ""
    accuracy = f"validation {percent(max(row.point.val_accuracy for row in rows))}%"
    said = f": {own}" if own else ""
    return f'<li>{escape(name)} <span class="quiet">{escape(accuracy + count + said)}</span></li>'
