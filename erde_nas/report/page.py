"""report.html: one page that needs no network. Everything that comes from the data is escaped."""

from collections.abc import Sequence
from html import escape

from plotly.offline import get_plotlyjs

from erde_nas.report.charts import chart_html
from erde_nas.report.devices import devices_table
from erde_nas.report.exit_factor import exit_factor_table
from erde_nas.report.exits import exit_cells, exit_facts, exit_headers, exit_rows
from erde_nas.report.facts import (
    PROTOCOL,
    environment_facts,
    not_offered_table,
    profiles_table,
    run_facts,
    screened_table,
    title,
    trials_table,
)
from erde_nas.report.markdown import INTERRUPTED
from erde_nas.report.points import Row, teacher_row
from erde_nas.report.series import FRONT_COLOUR, FRONT_NAME, STYLES, costs, front, panel_title, series
from erde_nas.report.style import CSS, SCRIPT
from erde_nas.report.summary import summary_sentence
from erde_nas.report.tables import Table, front_tables
from erde_nas.report.units import accuracy_with_ci, percent
from erde_nas.report_data.point import MEDIAN_WORSE
from erde_nas.report_data.report import Report

CARDS = 12  # students whose exits are shown at once; the others unfold
SENTENCE = 40  # characters from which a cell may break over lines
# The browser itself then refuses every request to a network.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"


def page(report: Report) -> str:
    """The whole page as HTML."""
    heading = escape(title(report))
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            f"<title>{heading}</title>\n<style>{CSS}</style>",
            f"<script>{get_plotlyjs()}</script>\n</head>\n<body>\n<header>\n<h1>{heading}</h1>",
            f'<p class="summary warning">{escape(INTERRUPTED)}</p>' if report.interrupted else "",
            f'<p class="summary">{escape(summary_sentence(report))}</p>',
            _facts(run_facts(report)),
            "</header>\n<main>",
            _section("Accuracy against cost", _figures(report)),
            _section("Students by cost", _by_cost(report)),
            _compared(report),
            _pay(report),
            _section("Exits", _exits(report)),
            _section("Not offered", _table(not_offered_table(report), "No student was held back.")),
            _screened(report),
            _section("Search history", _history(report)),
            _section("How it was measured", _measured(report)),
            f"</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n",
        ]
    )


def _section(heading: str, body: str) -> str:
    return f"<section>\n<h2>{escape(heading)}</h2>\n{body}\n</section>"


def _facts(facts: list[tuple[str, str]]) -> str:
    lines = "\n".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in facts)
    return f"<dl>\n{lines}\n</dl>" if facts else ""


def _figures(report: Report) -> str:
    looks = {group.name: STYLES[group.look] for cost in costs(report) for group in series(report, cost)}
    if not looks:
        return "<p>No point yet.</p>"
    entries = [(name, style.character, style.colour) for name, style in looks.items()]
    if any(front(report, cost) for cost in costs(report)):
        entries.append((FRONT_NAME, "━", FRONT_COLOUR))
    if teacher_row(report):
        entries.append(("accuracy of the teacher", "┄", STYLES["teacher"].colour))
    legend = "".join(
        f'<li><span style="color:{colour}" aria-hidden="true">{character}</span> {escape(name)}</li>'
        for name, character, colour in entries
    )
    figures = [
        f"<figure><figcaption>{escape(panel_title(cost))}</figcaption>"
        f"{chart_html(report, cost, f'chart-{number}')}</figure>"
        for number, cost in enumerate(costs(report))
    ]
    kind = "figures several" if len(figures) > 1 else "figures"
    note = "Point at a mark for its numbers; drag to zoom, double-click to return. Bars are 95% confidence intervals."
    return (
        f'<ul class="legend">{legend}</ul>\n<div class="{kind}">{"".join(figures)}</div>\n'
        f'<p class="note">{escape(note)}</p>'
    )


def _compared(report: Report) -> str:
    table = devices_table(report)
    return _section(table.title, _table(table, "")) if table.cells else ""


def _screened(report: Report) -> str:
    table = screened_table(report)
    return _section(table.title, _table(table, "")) if table.cells else ""


def _by_cost(report: Report) -> str:
    """The tables of students, which a reader may rid of those whose exits make the median worse."""
    tables = "\n".join(_titled(table) for table in front_tables(report, full=True))
    if not any(MEDIAN_WORSE in remark for point in report.points for remark in point.remarks if point.offered):
        return tables
    text = f"hide students of which {MEDIAN_WORSE}"
    return f'<p><label><input type="checkbox" data-hides="{MEDIAN_WORSE}"> {escape(text)}</label></p>\n{tables}'


def _pay(report: Report) -> str:
    table = exit_factor_table(report)
    return _section(table.title, _table(table, "")) if table.cells else ""


def _titled(table: Table) -> str:
    return f"<h3>{escape(table.title)}</h3>\n{_table(table, 'No student yet.')}"


def _table(table: Table, empty: str) -> str:
    """The table in a container of its own that scrolls sideways on a narrow screen."""
    if not table.cells:
        return f"<p>{escape(empty)}</p>"
    head = "".join(
        f'<th scope="col"{_class(right, "")}>{escape(text)}</th>'
        for text, right in zip(table.headers, table.right, strict=True)
    )
    body = "\n".join(
        "<tr>"
        + "".join(f"<td{_class(r, text)}>{escape(text)}</td>" for text, r in zip(line, table.right, strict=True))
        + "</tr>"
        for line in table.cells
    )
    notes = "\n".join(f'<p class="note">{escape(note)}</p>' for note in table.notes)
    return (
        f'<div class="scroll" tabindex="0"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n'
        f"</table></div>\n{notes}"
    )


def _class(right: bool, text: str) -> str:
    return ' class="right"' if right else ' class="text"' if len(text) > SENTENCE else ""


def _exits(report: Report) -> str:
    cards = [_card(row, exit_headers(report)) for row in exit_rows(report)]
    if not cards:
        return "<p>No student yet.</p>"
    note = (
        f"Blocks are counted from 0. An image leaves at the first exit where the {report.exit_rule.text} is below the "
        "threshold. Accuracy is that of the exit on the test images if every image left there."
    )
    shown = f'<p class="note">{escape(note)}</p>\n<div class="cards">{"".join(cards[:CARDS])}</div>'
    if len(cards) <= CARDS:
        return shown
    more = f'<div class="cards">{"".join(cards[CARDS:])}</div>'
    return f"{shown}\n<details><summary>{len(cards) - CARDS} more</summary>{more}</details>"


def _card(row: Row, headers: Sequence[str]) -> str:
    facts = exit_facts(row)
    head = "".join(f'<th scope="col" class="right">{escape(text)}</th>' for text in headers)
    lines = []
    for fact in facts:
        block, threshold, share, accuracy, macs = map(escape, exit_cells(fact))
        cells = (block, threshold, share + _bar(fact.share), accuracy + _bar(fact.accuracy), macs)
        lines.append("<tr>" + "".join(f'<td class="right">{cell}</td>' for cell in cells) + "</tr>")
    point = row.point
    accuracy = f"test {accuracy_with_ci(point)}%" if point.test_accuracy is not None else "not tested"
    return (
        f'<div class="card"><h3>{escape(row.name)} ({escape(row.stage)})</h3>'
        f'<p class="note">validation {percent(point.val_accuracy)}%, {escape(accuracy)}</p>'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _bar(share: float | None) -> str:
    return (
        ""
        if share is None
        else f'<span class="bar"><i style="width:{100 * min(max(share, 0.0), 1.0):.1f}%"></i></span>'
    )


def _history(report: Report) -> str:
    table = trials_table(report)
    if not table.cells:
        return "<p>No search history was recorded.</p>"
    failed = sum(trial.state == "failed" for trial in report.searched)
    heading = f"{len(table.cells)} trials, {failed} failed"
    return f"<details><summary>{escape(heading)}</summary>\n{_table(table, '')}\n</details>"


def _measured(report: Report) -> str:
    sentences = "\n".join(f"<li>{escape(sentence)}</li>" for sentence in PROTOCOL)
    profiles = _table(profiles_table(report), "Nothing has been measured.")
    return f"<ul>\n{sentences}\n</ul>\n{profiles}\n{_facts(environment_facts(report))}"
