"""report.md: the page's content without its figures, as Markdown."""

from tabulate import tabulate

from erde_nas.report.devices import devices_table
from erde_nas.report.escape import markdown_text
from erde_nas.report.exit_factor import exit_factor_table
from erde_nas.report.exits import exits_table
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
from erde_nas.report.summary import summary_sentence
from erde_nas.report.tables import Table, front_tables
from erde_nas.report_data.report import Report

INTERRUPTED = "This run was interrupted: what follows is what had been finished by then."
UNFINISHED = "This run is not finished: what follows is what it has found so far."


def markdown(report: Report) -> str:
    """The whole file. The picture beside it is front.png."""
    parts = [f"# {markdown_text(title(report))}"]
    if state := state_of(report):
        parts.append(f"**{state}**")
    parts += [
        markdown_text(summary_sentence(report)),
        _facts(run_facts(report)),
        "![Accuracy against cost](front.png)",
        "## Fronts",
    ]
    parts += [_section(table, "###") for table in front_tables(report, full=True)]
    parts += [_section(table, "##") for table in (devices_table(report), exit_factor_table(report)) if table.cells]
    parts.append(_section(exits_table(report), "##"))
    others = (not_offered_table(report), screened_table(report), trials_table(report))
    parts += [_section(table, "##") for table in others if table.cells]
    parts += ["## How it was measured", "\n".join(f"- {sentence}" for sentence in PROTOCOL)]
    parts += [_section(profiles_table(report), "##"), _facts(environment_facts(report))]
    return "\n\n".join(part for part in parts if part) + "\n"


def state_of(report: Report) -> str:
    """What a reader must know of a run that did not come to its end; empty where it did."""
    return UNFINISHED if report.unfinished else INTERRUPTED if report.interrupted else ""


def _section(table: Table, level: str) -> str:
    body = "None yet."
    if table.cells:
        cells = [[markdown_text(text) for text in line] for line in table.cells]
        headers = [markdown_text(text) for text in table.headers]
        align = ["right" if right else "left" for right in table.right]
        body = tabulate(cells, headers, tablefmt="github", disable_numparse=True, colalign=align)
    return "\n\n".join([f"{level} {markdown_text(table.title)}", body, *map(markdown_text, table.notes)])


def _facts(facts: list[tuple[str, str]]) -> str:
    return "\n".join(f"- {term}: {markdown_text(text)}" for term, text in facts)
