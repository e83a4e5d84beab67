"""The tests that test/browser/README.md names exist, and the page for users names every reason of an error."""

from __future__ import annotations

import re

from support.paths import ROOT

BROWSER = ROOT / "test" / "browser"


def test_the_tests_in_the_table_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", (BROWSER / "README.md").read_text("utf-8")))
    existing = {
        name for path in BROWSER.glob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text("utf-8"))
    }
    assert named - existing == set()


def test_the_reasons_of_errors_are_documented_and_tested() -> None:
    scripts = (ROOT / "cybersource_flex" / "emulator" / "browser" / "static" / "microform").glob("*.js")
    used = {
        reason
        for script in scripts
        for reason in re.findall(
            r'"((?:API|BROWSER|CAPTURE|CREATE|FIELD|IFRAME|MALFORMED|UNKNOWN)_[A-Z_]+)"', script.read_text("utf-8")
        )
    }
    assert len(used) > 30
    page = (ROOT / "docs" / "microform.md").read_text("utf-8")
    tests = "".join(path.read_text("utf-8") for path in BROWSER.glob("test_*.py"))
    assert {reason for reason in used if f"`{reason}`" not in page} == set()
    assert {reason for reason in used if reason not in tests} == set()
