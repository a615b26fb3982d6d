"""report.html: one page that needs no network: the answer first, the evidence behind it, details folded.

Texts and tables are in the HTML; web/page.js draws the figures and the students from data that is in the page as well.
Everything that comes from the data is escaped.
"""

import json
from collections import Counter
from functools import cache
from html import escape
from pathlib import Path

from erde_nas.report import html
from erde_nas.report.chart_data import chart_data, progress
from erde_nas.report.devices import devices_table
from erde_nas.report.exit_factor import exit_factor_table
from erde_nas.report.exits import exits_table
from erde_nas.report.facts import (
    PROTOCOL,
    environment_facts,
    profiles_table,
    run_facts,
    screened_table,
    title,
    trials_table,
)
from erde_nas.report.markdown import state_of
from erde_nas.report.offers_html import key_figures, not_offered, offered_tables
from erde_nas.report.student_data import student_data
from erde_nas.report.summary import chosen, summary_sentence
from erde_nas.report.units import one_line
from erde_nas.report_data.json_records import finite, to_json
from erde_nas.report_data.report import Report

WEB = Path(__file__).parent / "web"
# The browser itself then refuses every request to a network.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"
LIVE_POLICY = f"{POLICY}; connect-src 'self'"  # of a page that is served, which asks whether there is news
SECTIONS = {"answer": "Answer", "front": "Front", "student": "Student", "search": "Search", "measured": "Method"}
ALERTS = ("Not measured", "Left out", "Teacher")  # facts of the run that nobody may miss


def page(report: Report, folder: Path | str = "RUN", version: str = "") -> str:
    """The whole page as HTML. `folder` is the run's, for the commands that it shows.

    With a `version`, which only a page has that is served, it is loaded again when that changes.
    """
    heading = title(report)
    links = "".join(f'<a href="#{ident}">{name}</a>' for ident, name in SECTIONS.items())
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{LIVE_POLICY if version else POLICY}">',
            f"<title>{escape(heading)}</title>\n<style>{_web('page.css')}</style>",
            f"<script>{_web('theme.js')}</script>\n</head>\n<body>",
            f'<header class="top"><div><nav aria-label="Sections">{links}</nav>'
            '<button type="button" id="theme" aria-label="Change between light and dark">◐</button></div></header>',
            f"<main>\n<h1>{escape(heading)}</h1>",
            _answer(report, folder),
            _front(),
            _student(report),
            _search(report),
            _measured(report),
            "</main>",
            f'<script type="application/json" id="data">{_data(report, str(folder))}</script>',
            f"<script>{_web('charts.js')}\n{_web('figures.js')}\n{_web('student.js')}\n{_web('page.js')}</script>",
            _live(version),
            "</body>\n</html>\n",
        ]
    )


def waiting_page(text: str, version: str) -> str:
    """A page that is served while there is nothing to show; `text` says why."""
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{LIVE_POLICY}">',
            f"<title>Nothing to show yet</title>\n<style>{_web('page.css')}</style>\n</head>\n<body>",
            f"<main>\n<h1>Nothing to show yet</h1>\n<p>{escape(text)}</p>",
            f"<p>This page looks for news by itself.</p>\n</main>\n{_live(version)}\n</body>\n</html>\n",
        ]
    )


def _live(version: str) -> str:
    return f'<script data-version="{escape(version)}">{_web("live.js")}</script>' if version else ""


@cache
def _web(name: str) -> str:
    return (WEB / name).read_text(encoding="utf-8")


def _data(report: Report, folder: str) -> str:
    """What the scripts draw; `<` cannot end the element that it stands in."""
    best = chosen(report)
    values = {
        "chart": chart_data(report),
        "students": student_data(report, folder),
        "progress": progress(report),
        "classes": [one_line(name) for name in report.dataset.classes],
        "perClass": report.dataset.images_per_class.get("test", ()),
        "pictures": report.pictures,
        "rule": {"text": report.exit_rule.text, "unit": report.exit_rule.unit},
        "profile": best.profile if best else next(iter(report.profiles), ""),
        "teacherVal": None if report.teacher is None else round(100 * report.teacher.val_accuracy, 4),
    }
    text = json.dumps(finite(values), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _answer(report: Report, folder: Path | str) -> str:
    facts = dict(run_facts(report))
    data = facts.get("Data", "")
    alerts = [("Not the end", state)] if (state := state_of(report)) else []
    alerts += [(term, facts[term]) for term in ALERTS if term in facts]
    shown = "\n".join(f'<p class="alert"><b>{escape(term)}.</b> {escape(text)}</p>' for term, text in alerts)
    held_back = not_offered(report)
    screened = html.table(screened_table(report), "not-measured-in-full")
    return "\n".join(
        [
            f'<section id="answer">\n<p class="under">{escape(data)}</p>\n{shown}',
            html.paragraph(summary_sentence(report), "lead"),
            key_figures(report, folder),
            *_heading(report),
            offered_tables(report),
            html.folded("Devices compared", html.table(devices_table(report), "devices")),
            html.folded("Do exits pay?", html.table(exit_factor_table(report), "exit-factors")),
            "<h3>What was not offered</h3>",
            held_back,
            html.folded(f"Not measured in full: {_students(len({p.student for p in report.screened}))}", screened),
            "</section>",
        ]
    )


def _heading(report: Report) -> list[str]:
    if report.estimated_fronts:
        text = "Nothing is offered before it is measured: these are the best by validation and estimated costs."
        return ["<h2>Best so far, by estimates</h2>", html.paragraph(text, "note")]
    text = "Chosen on validation, read once on test. Press a student for everything else."
    return ["<h2>What is offered</h2>", html.paragraph(text, "note")]


def _students(count: int) -> str:
    return f"{count} student{'' if count == 1 else 's'}"


def _titled(body: str, heading: str) -> str:
    return f"<h3>{escape(heading)}</h3>\n{body}" if body else ""


def _front() -> str:
    note = (
        "The front is chosen on validation and read on test: where the second picture does not rise as the first "
        "one does, the difference is chance. Bars are 95% intervals, of test accuracy and of mean latency; a dashed "
        "ring marks a latency in doubt. Point at a mark, or use Tab and the arrow keys; press it to see its student."
    )
    figures = '<div id="front-figures"></div>'
    return html.section("front", "Accuracy against cost", figures, html.paragraph(note, "note"))


def _student(report: Report) -> str:
    note = (
        f"Blocks are counted from 0. An image leaves at the first exit where the {report.exit_rule.text} is below the "
        "threshold. Move the slider: thresholds are chosen on validation, at no training cost."
    )
    exits = html.folded("All exits as a table", html.table(exits_table(report), "exits"))
    view = '<div id="student-view"></div>'
    return html.section("student", "A student's own view", html.paragraph(note, "note"), view, exits)


def _search(report: Report) -> str:
    trials = trials_table(report)
    failed = [trial for trial in report.searched if trial.state == "failed"]
    failures = Counter(one_line(trial.reason or "no reason recorded") for trial in failed)
    lines = "".join(
        f'<li>{escape(reason)} <span class="quiet">{count}×</span></li>' for reason, count in failures.most_common()
    )
    known = {"Searched", "Objectives", "Hypervolume", "Rank correlation", "Rank check", "Latency model"}
    facts = [(term, text) for term, text in run_facts(report) if term in known]
    heading = f"{len(trials.cells)} trials, {len(failed)} failed"
    return html.section(
        "search",
        "The search",
        '<div id="search-figures"></div>',
        html.facts(facts),
        f'<h3>Failures</h3>\n<ul class="reasons">{lines}</ul>' if lines else "",
        _titled(_stages(report), "What the time went into"),
        html.folded(heading, html.table(trials, "trials")) or "<p>No search history was recorded.</p>",
    )


COLOURS = ("finished", "quantized", "pruned", "baseline", "cascade", "teacher", "searched")


def _stages(report: Report) -> str:
    """The stages in their order, each as long as it took."""
    timings = [(one_line(stage), seconds) for stage, seconds in report.environment.timings_s.items() if seconds > 0]
    whole = sum(seconds for _, seconds in timings)
    if not whole:
        return ""
    bars, names = [], []
    for place, (stage, seconds) in enumerate(timings):
        colour = f"var(--{COLOURS[place % len(COLOURS)]})"
        bars.append(f'<i style="width:{100 * seconds / whole:.2f}%;background:{colour}"></i>')
        names.append(
            f'<li><span class="swatch" style="background:{colour}"></span>{escape(stage)} {_duration(seconds)}</li>'
        )
    total = f'<p class="note">{_duration(whole)} in all, over every start of the run.</p>'
    return (
        f'<div class="stages" aria-hidden="true">{"".join(bars)}</div><ol class="legend">{"".join(names)}</ol>{total}'
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _measured(report: Report) -> str:
    sentences = "\n".join(f"<li>{escape(sentence)}</li>" for sentence in PROTOCOL)
    manifest = {
        "environment": to_json(report.environment),
        "profiles": {k: to_json(p) for k, p in report.profiles.items()},
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False)
    return html.section(
        "measured",
        "How it was measured",
        f"<ul>\n{sentences}\n</ul>",
        html.table(profiles_table(report), "profiles") or "<p>Nothing has been measured.</p>",
        html.folded("The run: data, machine, versions", html.facts([*run_facts(report), *environment_facts(report)])),
        html.folded("Manifest", f'<pre tabindex="0">{escape(text)}</pre>'),
    )
