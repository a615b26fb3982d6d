"""What mkdocs asks of this project: the README as the first page, and links that leave docs/."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PLACES = "benchmarks|examples|search|profiles|erde_nas|tests|[A-Z]+\\b"  # outside of docs/; from there or the README
OUTSIDE = re.compile(rf"\[([^\]]*)\]\((?!https?:|#)((?:\.\./)?(?:{PLACES})[^)]*)\)")


def on_files(files: Files, config: Any) -> Files:
    """The README, with its links as they are seen from docs/."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace("](docs/", "](")
    files.append(File.generated(config, "index.md", content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Files of the source tree are named and not linked: the site holds the documents alone."""
    return OUTSIDE.sub(lambda link: f"{link[1]} (`{link[2].removeprefix('../')}`)", markdown)
