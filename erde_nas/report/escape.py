"""Text from the data, from recipes and from people -> Markdown that shows it as it is, in one line.

Names of classes, files and recipes may hold whatever their makers wrote: no markup, no HTML and no link of theirs acts.
Pages use html.escape.
"""

from erde_nas.device.bundle_runner import plain

_SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*_[]|#~"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"})
_LINK = "://"  # many readers make a link of a bare address


def markdown_text(text: str) -> str:
    """A text among others, or in a cell of a table."""
    return plain(" ".join(text.split())).translate(_SPECIAL).replace(_LINK, ":&#47;/").replace("www.", "www&#46;")


def markdown_code(text: str) -> str:
    """A text as code: in more backticks than it has in a row, and a table's bars apart."""
    shown = plain(" ".join(text.split())).replace("|", "\\|")
    ticks = "`" * (1 + max((len(run) for run in "".join(c if c == "`" else " " for c in shown).split()), default=0))
    pad = " " if "`" in shown else ""
    return f"{ticks}{pad}{shown}{pad}{ticks}"
