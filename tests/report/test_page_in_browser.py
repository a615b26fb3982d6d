"""The page in a browser: it asks for nothing, complains of nothing, and its slider, tables, folds and themes work."""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest

from erde_nas.report.budgets import budget_choices
from erde_nas.report.page import page
from erde_nas.report_data.evidence import CurvePoint, TestAnswers, TrainedStudent
from erde_nas.report_data.report import Report
from tests.report.browser import Browser, missing
from tests.report.conftest import Draft, model

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "there is a browser")
AXE = os.environ.get("AXE_CORE", "")  # axe.min.js of the npm package axe-core
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


def full(draft: Draft) -> Report:
    """The report with curves, answers on test and origins for all its files."""
    report = model(draft)
    answers = TestAnswers(
        left=(60, 30, 10), right=(58, 26, 7), class_right=(9,) * 10,
        confusion=tuple(tuple(9 if i == j else int(j == (i + 1) % 10) for j in range(10)) for i in range(10)),
        calibration=(((20, 0.75, 15), (40, 0.97, 38)), ((30, 0.8, 26),), ((10, 0.6, 7),)),
    )  # fmt: skip
    points = tuple(replace(p, answers=answers) if p.file else p for p in report.points)
    curves = {p.file: _curve(p.val_accuracy) for p in points if p.file}
    counts = {"train": (10,) * 10, "validation": (10,) * 10, "test": (10,) * 10}
    return replace(
        report,
        points=points,
        curves=curves,
        students={p.student: TrainedStudent(0.8, ((6, 0.85), (12, 0.9))) for p in points if p.file},
        dataset=replace(report.dataset, images_per_class=counts),
    )


def _curve(accuracy: float) -> tuple[CurvePoint, ...]:
    return tuple(
        CurvePoint((k / 10, k / 8), (k / 10, (1 - k / 10) / 2, (1 - k / 10) / 2), accuracy - 0.002 * k)
        for k in range(9)
    )


@pytest.fixture
def shown(browser: Browser, report: Draft, tmp_path: Path) -> Browser:
    (tmp_path / "report.html").write_text(page(full(report), "runs/a"), encoding="utf-8")
    browser.open(tmp_path / "report.html")
    return browser


def complaints(browser: Browser) -> list[str]:
    return [entry["message"] for entry in browser.logs("browser") if entry["level"] in ("SEVERE", "WARNING")]


@pytest.mark.parametrize(("width", "theme"), list(product((390, 1024, 1600), ("light", "dark"))))
def test_fits_every_screen_in_both_themes(
    browser: Browser, report: Draft, tmp_path: Path, width: int, theme: str
) -> None:
    path = tmp_path / "report.html"
    path.write_text(page(full(report), "runs/a"), encoding="utf-8")
    browser.open(path, width, theme)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.run("return document.documentElement.dataset.theme") == theme
    assert (
        browser.run("return [...document.querySelectorAll('.plot svg')].filter(s => s.querySelector('.mark')).length")
        >= 4
    )
    assert complaints(browser) == []
    assert browser.requests() == [path.as_uri()]


def test_the_theme_changes_and_stays(shown: Browser) -> None:
    background = "return getComputedStyle(document.body).backgroundColor"
    before = shown.run(background)
    shown.run("document.getElementById('theme').click()")
    dark = shown.run(background)
    assert before == "rgb(255, 255, 255)"
    assert sum(map(int, re.findall(r"\d+", dark))) < 120
    assert shown.run("return document.documentElement.dataset.theme") == "dark"
    shown.run("document.getElementById('theme').click()")
    assert shown.run(background) == before
    shown.run("localStorage.clear()")


def test_the_slider_says_what_the_budgets_choose(shown: Browser, report: Draft) -> None:
    """Every place of the slider, against the points that `budget_choices` finds."""
    student, profile = shown.run("return [document.getElementById('student-select').value, DATA.profile]")
    assert (student, profile) == ("c51e0f9a33", "cpu-1thread-int8")
    choices = budget_choices(full(report), student, profile)
    assert shown.run("return Number(document.getElementById('operating-point').max)") == len(choices) - 1 >= 3
    for place, choice in enumerate(choices):
        shown.run(
            "const slider = document.getElementById('operating-point'); slider.value = arguments[0];"
            "slider.dispatchEvent(new Event('input', {bubbles: true}))",
            place,
        )
        text = shown.run("return document.querySelector('.slider').innerText")
        assert f"{100 * choice.val_accuracy:.1f}%" in text
        command = f"python shipped/run.py photos --budget-ms {choice.budget_ms} --profile {profile}"
        assert command in text
        assert ("\nestimated\n" in text) == (choice.point is None)
        drawn = shown.run("return document.querySelector('.drawing').textContent")
        assert all(f"{100 * share:.1f}%" in drawn for share in choice.exit_fractions)
    assert complaints(shown) == []


def test_another_student_is_shown_from_the_table(shown: Browser) -> None:
    shown.run("document.querySelector('.offer button[data-student=\"04bd77e1aa\"]').click()")
    assert shown.run("return document.getElementById('student-select').value") == "04bd77e1aa"
    assert "--student 04bd77e1aa" in shown.run("return document.querySelector('.slider').innerText")


def column(browser: Browser, number: int) -> list[float]:
    cells = browser.run(
        "return [...document.querySelectorAll('.offer')[0].querySelectorAll('tr.row')]"
        ".map(row => row.cells[arguments[0]].innerText)",
        number,
    )
    return [float(re.findall(r"\d+\.?\d*", cell)[0]) for cell in cells]


def test_tables_sort_by_numbers_and_keep_what_is_folded_with_its_row(shown: Browser) -> None:
    before = column(shown, 2)
    press = "document.querySelectorAll('.offer')[0].tHead.rows[0].cells[2].querySelector('button').click()"
    shown.run(press)
    assert column(shown, 2) == sorted(before)
    shown.run(press)
    assert column(shown, 2) == sorted(before, reverse=True)
    assert shown.run("return document.querySelector('.offer th[aria-sort]').getAttribute('aria-sort')") == "descending"
    names = shown.run(
        "return [...document.querySelectorAll('.offer')[0].tBodies]"
        ".filter(body => body.querySelector('[data-student]'))"
        ".map(body => [body.querySelector('.fold').innerText, body.querySelector('[data-student]').dataset.student])"
    )
    assert names
    assert all(text.startswith(student) for text, student in names)


def test_a_row_unfolds(shown: Browser) -> None:
    hidden = "return document.querySelector('.offer .more').offsetHeight"
    assert shown.run(hidden) == 0
    shown.run("document.querySelector('.offer .fold').click()")
    assert shown.run(hidden) > 50
    assert shown.run("return document.querySelector('.offer .fold').getAttribute('aria-expanded')") == "true"
    assert "resnet" in shown.run("return document.querySelector('.offer .more').innerText")
    shown.run("document.querySelector('.offer .fold').click()")
    assert shown.run(hidden) == 0


def test_others_are_shown_when_they_are_wanted(shown: Browser) -> None:
    rows = "return [...document.querySelectorAll('.offer tbody.other')].filter(body => body.offsetHeight).length"
    assert shown.run(rows) == 0
    shown.run("document.querySelector('[data-shows]').click()")
    assert shown.run(rows) > 0


def test_the_keyboard_walks_along_the_front(shown: Browser) -> None:
    shown.run("document.querySelector('#front-figures .plot svg').focus()")
    press = (
        "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}));"
        "return document.querySelector('#front-figures .tip:not([hidden])').innerText"
    )
    first, second = shown.run(press), shown.run(press)
    assert first != second
    assert "on validation" not in first
    assert "validation" in first


SAVED = "window.saved = []; window.save = (blob, name) => blob.arrayBuffer().then(b => saved.push([name, blob.type, "
SAVED += "new TextDecoder('latin1').decode(b)]))"


def test_figures_and_tables_are_downloaded(shown: Browser) -> None:
    shown.run(SAVED)
    shown.run("document.querySelectorAll('#front-figures figure .push button').forEach(button => button.click())")
    shown.run("document.querySelector('#answer .bar-of-tools .push button:last-child').click()")
    saved = shown.wait(
        "const done = arguments[0], look = () => saved.length >= 7 ? done(saved) : setTimeout(look, 50); look()"
    )
    kinds = {name.rsplit(".", 1)[1]: text for name, _, text in saved}
    assert kinds["svg"].startswith("<svg")
    assert "var(--" not in kinds["svg"]
    assert kinds["png"][1:4] == "PNG"
    (front,) = (text for name, _, text in saved if name == "front-cpu-1thread-int8-val.csv")
    assert len(front.strip().splitlines()) == 1 + 4  # the students that are in int8
    assert any(name.startswith("offered-") and text.startswith("student,") for name, _, text in saved)


def test_copies_the_command(shown: Browser) -> None:
    shown.run(
        "window.taken = []; Object.defineProperty(navigator, 'clipboard', "
        "{value: {writeText: text => { taken.push(text); return Promise.resolve(); }}});"
        "document.querySelector('.ship button').click()"
    )
    assert shown.run("return taken") == ["erde-nas export runs/a --student c51e0f9a33 --to shipped"]


def test_hostile_text_stays_text(browser: Browser, report: Draft, tmp_path: Path) -> None:
    for point in report["points"]:
        point["student"] = point["reason"] = HOSTILE
    report["recipe"] = HOSTILE
    report["dataset"] |= {"name": HOSTILE, "classes": [HOSTILE] * 10}
    for trial in report["searched"]:
        trial |= {"student": HOSTILE, "reason": HOSTILE, "shape": HOSTILE}
    report["profiles"][HOSTILE] = report["profiles"]["cpu-1thread"]
    (tmp_path / "report.html").write_text(page(full(report), HOSTILE), encoding="utf-8")
    browser.open(tmp_path / "report.html")
    assert browser.run("return document.querySelectorAll('img, [onerror]').length") == 0
    assert browser.run("return document.querySelectorAll('script').length") == 3
    assert HOSTILE in browser.run("return document.body.innerText")
    assert complaints(browser) == []


def test_everything_has_a_name(shown: Browser) -> None:
    """Buttons, fields, pictures and regions: those who do not see the page hear what they are."""
    nameless = shown.run(
        """
        const named = one => one.getAttribute("aria-label") || one.textContent.trim() || one.labels?.length;
        return [...document.querySelectorAll("button, input, select, svg[role=img], [role=region], [role=group]")]
          .filter(one => one.checkVisibility()).filter(one => !named(one)).map(one => one.outerHTML.slice(0, 200))
        """
    )
    assert nameless == []
    levels = shown.run("return [...document.querySelectorAll('h1, h2, h3')].map(one => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.skipif(not AXE, reason="AXE_CORE names no axe.min.js (npm pack axe-core)")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_serious_fault(browser: Browser, report: Draft, tmp_path: Path, theme: str) -> None:
    (tmp_path / "report.html").write_text(page(full(report), "runs/a"), encoding="utf-8")
    browser.open(tmp_path / "report.html", theme=theme)
    assert browser.run("return document.documentElement.dataset.theme") == theme
    browser.run("document.querySelectorAll('details').forEach(one => { one.open = true })")
    browser.run("document.querySelector('.offer .fold').click()")
    browser.run(Path(AXE).read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = browser.wait(
        "const done = arguments[0]; axe.run().then(found => done(found.violations))"
    )
    serious = [v for v in found if v["impact"] in ("serious", "critical")]
    assert [(v["id"], v["nodes"][0]["html"][:200]) for v in serious] == []
