"""The page in a real browser: it opens and filters thousands of findings at once, loads nothing, and obeys no feed."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ops.verdict.report import Report

from tests.support.places import ROOT

from .browser import chromium, require_chromium, resize, screenshot
from .samples import REPORTS, Found, report, text_of

LIMIT_MS = 200
MANY = 5_000
TRIES = 5
PACKAGES = (
    "bash",
    "curl",
    "git",
    "krb5-locales",
    "libc6",
    "libexpat1",
    "libssl3",
    "libtiff6",
    "nginx",
    "perl-base",
    "tar",
    "zlib1g",
)
DESCRIPTION = "An out-of-bounds read in the parser lets a remote attacker crash the service by a crafted message. "
# What a feed would have to say to run something in the page.
EVIL = "</script><script>window.ran=1</script><img src=https://evil.example/x onerror=window.ran=1>"
# Does what is given, lets the page lay itself out, and returns how long that took.
TIMED = "const start = performance.now(); %s; document.body.offsetHeight; return performance.now() - start"
# From the last byte of the page to the end of its script.
OPENED = (
    "const [page] = performance.getEntriesByType('navigation'); return page.domContentLoadedEventEnd - page.responseEnd"
)

Open = Callable[[Report], Any]


def many_findings(number: int = MANY) -> list[Found]:
    """Return findings as a large image has them: severities, fixes and descriptions of all sorts."""
    chance = random.Random(7)
    return [
        Found(
            f"CVE-20{chance.randint(15, 26)}-{chance.randint(1000, 59999)}",
            PACKAGES[index % len(PACKAGES)],
            f"{index % 9}.{index % 13}.{index % 7}-{index % 4}+deb12u1",
            "" if chance.random() < 0.4 else f"{index % 9 + 1}.0.0-1",
            chance.choices(["Critical", "High", "Medium", "Low", "Negligible", "Unknown"], [1, 10, 30, 40, 12, 7])[0],
            DESCRIPTION * chance.randint(1, 4),
            f"https://security-tracker.debian.org/tracker/{index}",
        )
        for index in range(number)
    ]


@pytest.fixture(scope="module")
def many() -> Report:
    """A report with 5,000 findings."""
    return report(many_findings(), languages=("pypi",))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Chromium for all tests of this file."""
    require_chromium()
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def open_page(browser: Any, tmp_path: Path) -> Open:
    """Open a report's page and return the browser."""

    def opened(one: Report) -> Any:
        path = tmp_path / "report.html"
        path.write_text(text_of(one, "html"), encoding="ascii")
        browser.get_log("performance")
        browser.get_log("browser")
        browser.get(path.as_uri())
        resize(browser, 1280, 1000)
        return browser

    return opened


def shown(driver: Any) -> list[str]:
    """Return the ids of the vulnerabilities that are drawn."""
    names: list[str] = driver.execute_script(
        "return [...document.querySelectorAll('#findings button.id')].map(one => one.textContent)"
    )
    return names


def count(driver: Any) -> str:
    return str(driver.execute_script("return document.getElementById('shown').textContent"))


def type_text(driver: Any, text: str) -> float:
    """Type into the search field at once and return the milliseconds until the page is laid out again."""
    change = "const field = document.getElementById('text'); field.value = arguments[0]; field.dispatchEvent(new Event('input', {bubbles: true}))"
    return float(driver.execute_script(TIMED % change, text))


def test_5000_findings_open_and_filter_within_200_ms(open_page: Open, many: Report) -> None:
    texts = ["l", "libssl3", "libssl3 2024", "no such text", ""]
    click = "document.querySelector('th[data-key=installed] button').click()"
    opened, filtered, ordered = [], [], []

    # The best of several: other work on the machine is no fault of the page.
    for _ in range(TRIES):
        driver = open_page(many)
        opened.append(float(driver.execute_script(OPENED)))
        filtered.append(max(type_text(driver, text) for text in texts))
        ordered.append(float(driver.execute_script(TIMED % click)))

    print(f"opened in {min(opened):.0f} ms, sorted in {min(ordered):.0f} ms, filtered in {min(filtered):.0f} ms")
    assert max(min(opened), min(ordered), min(filtered)) < LIMIT_MS
    assert count(driver) == "5,000 of 5,000 findings"


def test_search_severity_fix_and_failing_narrow_the_list(open_page: Open) -> None:
    driver = open_page(REPORTS["findings"]())

    type_text(driver, "LIBSSL3 2024")
    by_text = shown(driver)
    type_text(driver, "")
    driver.find_element("css selector", "input[value='0']").click()
    without_unknown = shown(driver)
    driver.find_element("id", "fixed").click()
    with_fix = shown(driver)
    driver.find_element("id", "failing").click()

    assert by_text == ["CVE-2024-6119", "CVE-2024-0727"]
    assert without_unknown == ["CVE-2024-6119", "CVE-2024-0727", "CVE-2025-1000", "CVE-2010-4756"]
    assert with_fix == ["CVE-2024-6119", "CVE-2024-0727", "CVE-2025-1000"]
    assert (shown(driver), count(driver)) == (["CVE-2024-6119"], "1 of 5 findings")


def test_a_column_sorts_both_ways_and_says_so(open_page: Open) -> None:
    driver = open_page(report([Found(installed=version) for version in ("1.10", "1.9", "1.2")]))
    head = driver.find_element("css selector", "th[data-key=installed]")

    def versions() -> list[str]:
        cells: list[str] = driver.execute_script(
            "return [...document.querySelectorAll('#findings td[data-label=Installed]')].map(one => one.textContent)"
        )
        return cells

    head.find_element("tag name", "button").click()
    up = (versions(), head.get_attribute("aria-sort"))
    head.find_element("tag name", "button").click()

    assert up == (["1.2", "1.9", "1.10"], "ascending")
    assert (versions(), head.get_attribute("aria-sort")) == (["1.10", "1.9", "1.2"], "descending")


def test_a_finding_opens_by_keyboard_with_description_and_links(open_page: Open) -> None:
    driver = open_page(REPORTS["findings"]())
    button = driver.find_element("css selector", "#findings button.id")

    driver.execute_script("arguments[0].focus()", button)
    button.send_keys("\ue007")  # Enter

    more = driver.find_element("css selector", "tr.more")
    assert button.get_attribute("aria-expanded") == "true"
    assert "A crash in the certificate check." in more.text
    assert more.find_element("tag name", "a").get_attribute("href") == "https://tracker.example/CVE-2024-6119"


def test_a_platform_can_be_chosen(open_page: Open) -> None:
    driver = open_page(REPORTS["platforms"]())

    driver.find_element("css selector", "#platform option[value='0']").click()

    assert count(driver) == "3 of 8 findings"


def test_nothing_is_loaded_and_nothing_of_a_feed_runs(open_page: Open) -> None:
    one = report(
        [Found(id=EVIL, package=EVIL, installed=EVIL, fixed=EVIL, description=EVIL, links=f"https://x.example/ {EVIL}")]
    )
    driver = open_page(one)
    driver.find_element("css selector", "#findings button.id").click()

    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert [url for url in urls if not url.startswith(("file:", "chrome:"))] == []  # chrome: is the empty tab's own
    assert driver.execute_script("return window.ran") is None
    assert shown(driver) == [EVIL]
    assert driver.get_log("browser") == []


@pytest.mark.parametrize("name", REPORTS)
def test_every_kind_of_page_opens_without_a_complaint_and_fits_a_phone(open_page: Open, name: str) -> None:
    driver = open_page(REPORTS[name]())

    resize(driver, 390, 844)

    assert driver.get_log("browser") == []
    assert driver.execute_script("return document.documentElement.scrollWidth") <= 390


def test_what_is_printed_is_the_whole_list(open_page: Open, many: Report) -> None:
    driver = open_page(many)
    type_text(driver, "libssl3")

    printed = driver.execute_cdp_cmd("Page.printToPDF", {})

    assert base64.b64decode(printed["data"]).startswith(b"%PDF")
    assert len(shown(driver)) == int(count(driver).split()[0]) > 300


def test_without_scripts_the_list_is_there(tmp_path: Path) -> None:
    require_chromium()
    path = tmp_path / "report.html"
    path.write_text(text_of(REPORTS["findings"](), "html"), encoding="ascii")

    with chromium(tmp_path / "profile", scripts=False) as driver:
        driver.get(path.as_uri())

        assert "CVE-2010-4756" in driver.find_element("tag name", "body").text


def test_screenshots_are_kept(open_page: Open, many: Report, browser: Any) -> None:
    """Not an assertion: the files are what a person looks at."""
    driver = open_page(many)
    screenshot(driver, ROOT / "build" / "report-desktop.png")
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    screenshot(driver, ROOT / "build" / "report-dark.png")
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    resize(driver, 390, 844)
    screenshot(driver, ROOT / "build" / "report-phone.png")
