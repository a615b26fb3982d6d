"""Pieces of the page as HTML. Every text that is put in is escaped here."""

from collections.abc import Iterable, Sequence
from html import escape

from erde_nas.report.tables import Table

SENTENCE = 40  # characters from which a cell may break over lines


def section(ident: str, heading: str, *parts: str) -> str:
    """A section with a heading that a link may point to; `parts` are HTML."""
    body = "\n".join(part for part in parts if part)
    return f'<section id="{escape(ident)}">\n<h2>{escape(heading)}</h2>\n{body}\n</section>'


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of a class; nothing for no text."""
    return f"<p{_class(kind)}>{escape(text)}</p>" if text else ""


def folded(heading: str, body: str, opened: bool = False) -> str:
    """`body`, HTML, behind a line that unfolds it; nothing for no body."""
    return (
        f"<details{' open' if opened else ''}><summary>{escape(heading)}</summary>\n{body}\n</details>" if body else ""
    )


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Terms and texts; nothing where there are none."""
    lines = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in pairs)
    return f'<dl class="facts">{lines}</dl>' if lines else ""


def table(found: Table, name: str = "") -> str:
    """The table, which sorts and copies, in a container of its own that scrolls sideways on a narrow screen, with its
    notes below; nothing where it is empty. `name` is what a downloaded file is called."""
    if not found.cells:
        return ""
    body = "\n".join(
        "<tr>" + "".join(f"<td{_cell(r, text)}>{escape(text)}</td>" for text, r in zip(line, found.right, strict=True))
        for line in found.cells
    )
    notes = "\n".join(paragraph(note, "note") for note in found.notes)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(found.title)}">'
        f'<table data-tools="{escape(name or found.title)}">\n{head(found.headers, found.right)}\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>\n{notes}"
    )


def head(headers: Sequence[str], right: Sequence[bool]) -> str:
    """The head of a table whose columns sort when they are pressed."""
    cells = "".join(
        f'<th scope="col"{_cell(r, "")}><button type="button">{escape(text)}</button></th>'
        for text, r in zip(headers, right, strict=True)
    )
    return f"<thead><tr>{cells}</tr></thead>"


def command(text: str) -> str:
    """A command line with a button that copies it."""
    return (
        f'<div class="ship"><span class="command" tabindex="0">{escape(text)}</span>'
        f'<button type="button" data-copy="{escape(text)}">Copy</button></div>'
    )


def _cell(right: bool, text: str) -> str:
    return _class("right" if right else "text" if len(text) > SENTENCE else "")


def _class(kind: str) -> str:
    return f' class="{escape(kind)}"' if kind else ""
