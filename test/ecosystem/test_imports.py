"""Importing the package leaves the tools of a test environment alone."""

from __future__ import annotations

import subprocess
import sys


def test_importing_the_package_imports_none_of_the_tools() -> None:
    code = "import sys, cybersource_flex.jose; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    tools = ("vcr", "freezegun", "pydantic", "fastapi", "django", "trio", "gevent", "sentry_sdk", "aiohttp")
    assert not [name for name in tools if f"'{name}'" in process.stdout]
