"""Whatever a run's texts hold, report.md and report.html show it as it is. The oracles are parsers of their own."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from erde_nas.report.escape import markdown_code, markdown_text
from erde_nas.report.markdown import markdown
from erde_nas.report.page import page
from erde_nas.report_data.json_records import from_json, to_json
from erde_nas.report_data.report import Report

EXAMPLE = Path(__file__).parents[1] / "report_data" / "pareto-of-an-earlier-version.json"
POISON = "<script>alert(1)</script><img src=x onerror=y>|[a](http://b.c)![d](e)`f``*g*\n# h\n- www.i.com ~~k~~ &amp;"
OURS = ("stage", "role", "source", "student", "precision", "objective", "state", "evaluator", "created")


def poisoned(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {k: poisoned(item, k) for k, item in value.items()}
    if isinstance(value, list):
        return [poisoned(item, key) for item in value]
    return POISON if isinstance(value, str) and key not in OURS else value


@pytest.fixture(scope="module")
def reports() -> tuple[Report, Report]:
    known = from_json(Report, json.loads(EXAMPLE.read_text()))
    return known, from_json(Report, poisoned(to_json(known)))


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: set[tuple[str, tuple[str, ...]]] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add((tag, tuple(name for name, _ in attrs)))


def test_the_page_has_no_tag_and_no_attribute_more(reports):
    harmless, other = (Tags(page(report)).seen for report in reports)
    assert other <= harmless
    assert "alert(1)</script>" not in page(reports[1])


def test_markdown_has_no_html_and_no_link(reports):
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown(reports[1]))
    kinds = {child.type for token in tokens for child in token.children or []} | {token.type for token in tokens}
    assert not kinds & {"html_inline", "html_block", "link_open", "fence", "code_block"}
    images = [child for token in tokens for child in token.children or [] if child.type == "image"]
    assert [image.attrs["src"] for image in images] == ["front.png"]


@pytest.mark.parametrize("text", [POISON, "`", "``a`", "a | b", "plain", " a  b "])
def test_a_text_comes_back_as_it_was(text):
    """But for what would break the line."""
    render = MarkdownIt("commonmark")
    for written in (markdown_text(text), markdown_code(text)):
        (block,) = [token for token in render.parse(f"x {written} y") if token.type == "inline"]
        shown = "".join(child.content for child in block.children or [])
        assert shown.replace("\\|", "|") == f"x {' '.join(text.split())} y"
