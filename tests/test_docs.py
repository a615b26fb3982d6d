"""Where the documents list names, they list those of the registries, all of them; and links lead somewhere."""

import re
from pathlib import Path

import pytest

from erde_nas.device.runtimes import runtime
from erde_nas.recipe.distil import LOSSES
from erde_nas.registry import FAMILIES, REGISTRIES, RUNTIMES, SEARCHERS

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*/*.md")]
NAME = re.compile(r"`([^`]+)`")


def rows(document, header):
    """The cells of each row of the table that begins with `header`."""
    text = (ROOT / document).read_text()
    lines = text[text.index(header) :].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def first_cells(document, header):
    return [name for row in rows(document, header) for name in NAME.findall(row[0])]


def test_searchers():
    assert sorted(first_cells("docs/search.md", "| name | how it proposes |")) == sorted(SEARCHERS)


def test_losses():
    text = (ROOT / "docs" / "losses.md").read_text()
    adaptive = re.search(r"With `ea-` before the name \((.*?)\)", text, re.DOTALL)
    assert adaptive is not None
    listed = [*first_cells("docs/losses.md", "| name | what is added"), *NAME.findall(adaptive[1])]
    assert sorted(listed) == sorted(LOSSES)


def test_runtimes_with_their_extras_and_precisions():
    found = {name: (cells[1], cells[2]) for cells in rows("docs/measurement.md", "| `runtime` | extra |") for name in
             NAME.findall(cells[0])}  # fmt: skip
    assert list(found) == list(RUNTIMES)
    for name, (extra, precisions) in found.items():
        assert NAME.findall(extra) == [runtime(name).EXTRA] * bool(runtime(name).EXTRA)
        assert precisions == ", ".join(runtime(name).PRECISIONS)


def test_families():
    for document in ("docs/how_it_works.md", "docs/losses.md"):
        (listed,) = re.findall(r"famil\w+\s+\((`resnet`[^)]*)\)", (ROOT / document).read_text())
        assert NAME.findall(listed) == list(FAMILIES)


def test_groups_of_entry_points():
    listed = first_cells("examples/plugin/README.md", "| group | what the attribute is |")
    assert sorted(listed) == sorted(registry.group for registry in REGISTRIES)


def anchors(text):
    """The headings of a Markdown text as the anchors that are made of them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", sorted(str(path.relative_to(ROOT)) for path in DOCUMENTS))
def test_links_lead_somewhere(document):
    here = ROOT / document
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", here.read_text(), flags=re.DOTALL)):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        there = (here.parent / name).resolve() if name else here
        assert there.exists(), target
        assert not anchor or anchor in anchors(there.read_text()), target


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
