"""The served page in a browser: it follows the news, and its reader stays where they were."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from erde_nas.report.page import page, waiting_page
from erde_nas.report.serve import PageServer, Shown
from tests.report.browser import Browser, missing
from tests.report.conftest import Draft, model

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "there is a browser")
VERSION = "return document.querySelector('script[data-version]')?.dataset.version"


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    found = Browser(tmp_path / "profile")
    yield found
    found.close()


def until(browser: Browser, version: str) -> None:
    end = time.monotonic() + 30
    while browser.run(VERSION) != version:
        assert time.monotonic() < end, version
        time.sleep(0.2)
    browser.wait("document.readyState === 'complete' ? arguments[0]() : addEventListener('load', () => arguments[0]())")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_it_follows_the_news(browser: Browser, report: Draft, host: str) -> None:
    pages = [Shown("v0", waiting_page("no candidate <yet>", "v0"))]
    pages += [Shown(name, page(model(report), version=name)) for name in ("v1", "v2")]
    now = [0]
    with PageServer(host, 0, lambda: pages[now[0]]) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            browser.open(server.url)
            assert "no candidate <yet>" in browser.run("return document.body.innerText")
            now[0] = 1
            until(browser, "v1")
            browser.run("const select = document.getElementById('student-select');"
                        "select.value = select.options[1].value; select.dispatchEvent(new Event('change'));"
                        "document.querySelectorAll('details')[1].open = true;")  # fmt: skip
            browser.run("scrollTo({top: 700, behavior: 'instant'})")
            here = ("return [scrollY, document.getElementById('student-select').value,"
                    "[...document.querySelectorAll('details')].map(one => one.open)]")  # fmt: skip
            before = browser.run(here)
            assert before[0] == 700
            now[0] = 2
            until(browser, "v2")
            assert browser.run(here) == before
            assert [entry for entry in browser.logs("browser") if "favicon" not in entry["message"]] == []
            assert {url.partition("?")[0] for url in browser.requests() if url.startswith("http")} <= {
                f"{server.url.partition('?')[0]}{path}" for path in ("", "version", "favicon.ico")
            }
        finally:
            server.shutdown()
            thread.join()
