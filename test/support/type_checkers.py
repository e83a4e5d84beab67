"""Runs mypy, basedpyright and ty on the files of a folder, as a user of the package would, and reads their reports."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from support.paths import ROOT

BIN = Path(sys.executable).parent


class Report(NamedTuple):
    """One error that a type checker found.

    Attributes:
        file: name of the file, without its folder.
        line: line number, from 1.
        message: the message.
    """

    file: str
    line: int
    message: str


def mypy(folder: Path) -> list[Report]:
    """All strict checks, except that functions may lack annotations; their bodies are checked."""
    settings = folder / "mypy.ini"
    settings.write_text(
        "[mypy]\nstrict = true\npython_version = 3.11\ncheck_untyped_defs = true\nallow_untyped_defs = true\n"
        f"allow_incomplete_defs = true\nallow_untyped_calls = true\nmypy_path = {ROOT}\n"
        f"cache_dir = {ROOT / '.mypy_cache' / 'tests'}\n"
    )
    output = _run([sys.executable, "-m", "mypy", "--config-file", str(settings), "--no-error-summary", "."], folder)
    errors = re.findall(r"^(.+?):(\d+): error: (.*)$", output, re.MULTILINE)
    return [Report(Path(file).name, int(line), message) for file, line, message in errors]


def basedpyright(folder: Path) -> list[Report]:
    """The standard checks."""
    settings = {"typeCheckingMode": "standard", "pythonVersion": "3.11", "extraPaths": [str(ROOT)]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [str(BIN / "basedpyright"), "--outputjson", "--pythonpath", sys.executable, "--project", str(folder)]
    output = json.loads(_run(command, folder))
    return [
        Report(Path(each["file"]).name, each["range"]["start"]["line"] + 1, each["message"])
        for each in output["generalDiagnostics"]
        if each["severity"] == "error"
    ]


def ty(folder: Path) -> list[Report]:
    """The default checks."""
    command = [str(BIN / "ty"), "check", "--output-format", "concise", "--python", str(BIN.parent)]
    output = _run([*command, "--extra-search-path", str(ROOT), "--python-version", "3.11", "."], folder)
    errors = re.findall(r"^(.+?):(\d+):\d+: error\[(.*)$", output, re.MULTILINE)
    return [Report(Path(file).name, int(line), message) for file, line, message in errors]


TYPE_CHECKERS: dict[str, Callable[[Path], list[Report]]] = {"mypy": mypy, "basedpyright": basedpyright, "ty": ty}


def _run(command: list[str], folder: Path) -> str:
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    # They return 1 for errors in the files, and more for internal errors.
    assert process.returncode in (0, 1), process.stdout + process.stderr
    return process.stdout
