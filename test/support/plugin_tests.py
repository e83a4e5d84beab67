"""A run of pytest with the package's plugin and a test file, in a subprocess."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run_pytest(folder: Path, test: str, *options: str) -> str:
    """Run pytest with a test file and return its output. Only the plugins that are named are loaded."""
    (folder / "test_it.py").write_text(test, "utf-8")
    environ = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "cybersource_flex.testing.plugin", "-p", "no:cacheprovider"]
    process = subprocess.run(
        [*command, "-W", "error", *options, "."], cwd=folder, env=environ, capture_output=True, text=True, timeout=120
    )
    return process.stdout + process.stderr
