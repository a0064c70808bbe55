"""The overview of a fleet in a real browser: it filters, sorts, and asks for nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ops.formats.format_fleet import Run, add_rows
from ops.formats.format_fleet_html import format_fleet_html

from tests.ops.formats.browser import chromium, require_chromium

IMAGES = 2000


def document(number: int) -> dict[str, Any]:
    """Return a result; every third has findings, every hundredth is undecided, and one in ten changed."""
    verdict = "undecided" if number % 100 == 0 else "findings" if number % 3 == 0 else "clean"
    new = [{"id": f"CVE-2024-{number:04}", "package": "libssl3", "severity": "High"}] if number % 10 == 0 else []
    return {
        "verdict": verdict,
        "image": f"registry.example.com/team-{number % 7}/app:{number}",
        "platform": "linux/amd64",
        "digest": f"sha256:{number:064x}",
        "reasons": ["the feed debian/updater never loaded"] if verdict == "undecided" else [],
        "counts": {"Critical": number % 3, "High": number % 11},
        "changes": {"since": "2026-11-24T00:00:00Z", "new": new, "gone": []},
        "oldest_feed": "2026-11-25T00:00:00Z",
    }


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The overview of a run of 2,000 images."""
    run = Run(
        "images.txt", "4.9.0", 1.8e9, 1.8e9 + 60, True, ("a linux/amd64",), (), 3, "reports/x.jsonl", "reports/x.html"
    )
    add_rows(run, map(document, range(IMAGES)))
    path = tmp_path_factory.mktemp("overview") / "fleet.html"
    path.write_text("".join(format_fleet_html(run, map(document, range(IMAGES)))), encoding="ascii")
    return path


def test_two_thousand_images_are_filtered_and_sorted_and_nothing_is_loaded(page: Path, tmp_path: Path) -> None:
    require_chromium()
    with chromium(tmp_path) as driver:
        driver.get(page.as_uri())

        def shown() -> list[str]:
            script = "return [...document.querySelectorAll('#images tbody tr')].filter(r => !r.hidden).map(r => r.dataset.name)"
            return list(driver.execute_script(script))

        driver.find_element("css selector", "input[value=clean]").click()
        driver.find_element("id", "text").send_keys("team-3/")
        filtered = shown()
        driver.find_elements("css selector", "#images th button")[0].click()
        first = driver.find_element("css selector", "#images tbody tr:not([hidden])").get_attribute("data-verdict")
        messages = [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
        events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
        asked = [one["params"]["request"]["url"] for one in events if one["method"] == "Network.requestWillBeSent"]

    expected = [number for number in range(IMAGES) if number % 7 == 3 and (number % 3 == 0 or number % 100 == 0)]
    assert len(filtered) == len(expected)
    assert first == "undecided"
    assert messages == []
    # The browser's own start page may still be loading, from within the browser.
    assert [url for url in asked if not url.startswith(("chrome:", "data:"))] == [page.as_uri()]
