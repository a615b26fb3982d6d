"""Records that show themselves: as text in a terminal, as HTML in a notebook."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Protocol, SupportsIndex, TypeVar, overload

from tabulate import tabulate

from erde_nas.errors import printable


class Shown(Protocol):
    """A record with a row in a table."""

    def cells(self) -> Mapping[str, str]:
        """What a table shows of it, by column."""


R = TypeVar("R", bound=Shown, covariant=True)


class Records(tuple[R, ...]):
    """A tuple of records that is a table where it is shown; so is a slice of it."""

    @overload
    def __getitem__(self, index: SupportsIndex) -> R: ...

    @overload
    def __getitem__(self, index: slice) -> "Records[R]": ...

    def __getitem__(self, index: SupportsIndex | slice) -> "R | Records[R]":
        return Records(super().__getitem__(index)) if isinstance(index, slice) else super().__getitem__(index)

    def __str__(self) -> str:
        return table_text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return table_html(self)


def table_text(records: Iterable[Shown]) -> str:
    """The records as a table; columns in the order in which they first appear."""
    headers, cells = _grid(records)
    return tabulate(cells, headers=headers, disable_numparse=True) if cells else "none"


def table_html(records: Iterable[Shown]) -> str:
    """The records as an HTML table."""
    return html_table(*_grid(records))


def html_table(headers: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool] = ()) -> str:
    """A table of finished text, which is escaped; `right[i]` aligns column i to the right."""
    styles = [' style="text-align: right"' if aside else "" for aside in right] or [""] * len(headers)

    def line(tag: str, row: Sequence[str]) -> str:
        return "".join(f"<{tag}{style}>{_escaped(cell)}</{tag}>" for cell, style in zip(row, styles, strict=True))

    body = "\n".join(f"<tr>{line('td', row)}</tr>" for row in cells)
    return f"<table>\n<tr>{line('th', headers)}</tr>\n{body}\n</table>"


def lines_html(lines: Iterable[str]) -> str:
    """Lines of text as a paragraph of HTML."""
    text = "\n".join(line for line in lines if line)
    return f"<p>{_escaped(text)}</p>" if text else ""


def _grid(records: Iterable[Shown]) -> tuple[list[str], list[list[str]]]:
    rows = [record.cells() for record in records]
    headers = list(dict.fromkeys(column for row in rows for column in row))
    return headers, [[printable(row.get(column, "")) for column in headers] for row in rows]


def _escaped(text: str) -> str:
    return escape(text).replace("\n", "<br>")
