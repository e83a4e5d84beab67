"""Run redocly's linter and diff, from the npm package that tools/npm pins. Needs Node.js 20.19 or newer.

    python tools/redocly.py install    install the package, unless it is installed

Telemetry, update checks and announcements are off: a run makes no network requests.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
MANIFEST: Final = ROOT / "tools" / "npm"
CONFIGURATION: Final = ROOT / "redocly.yaml"

_PACKAGE: Final = MANIFEST / "node_modules" / "@redocly" / "cli"
_NO_NETWORK: Final = {
    "REDOCLY_TELEMETRY": "off",
    "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true",
    "REDOCLY_SUPPRESS_NOTIFICATIONS": "true",
    "NO_COLOR": "1",
}


class RedoclyError(Exception):
    """Redocly cannot be run, or its output is not JSON. The message says why."""


def unavailable() -> str | None:
    """The reason why redocly cannot be run here, or None."""
    if shutil.which("node") is None:
        return "needs Node.js 20.19 or newer on PATH"
    if not _installed():
        return "needs `python tools/redocly.py install`"
    return None


def install() -> None:
    """Install the pinned package, unless it is installed.

    Raises:
        RedoclyError: there is no npm, or npm failed.
    """
    if _installed():
        return
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise RedoclyError("needs Node.js 20.19 or newer, with npm, on PATH")
    process = _run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=MANIFEST)
    if process.returncode or not _installed():
        raise RedoclyError(f"npm ci failed in {MANIFEST}:\n{process.stdout}{process.stderr}")


def lint(document: Path) -> list[dict[str, Any]]:
    """The problems that redocly finds in an OpenAPI document, as in its JSON output.

    Raises:
        RedoclyError: redocly cannot be run.
    """
    output = _output("lint", str(document), "--max-problems=1000")
    problems: list[dict[str, Any]] = output["problems"]
    return problems


def diff(before: Path, after: Path) -> list[dict[str, Any]]:
    """The changes from one OpenAPI document to another, as in redocly's JSON output.

    Raises:
        RedoclyError: redocly cannot be run, or cannot read one of the documents.
    """
    output = _output("diff", str(before), str(after), "--fail-on=none")
    changes: list[dict[str, Any]] = output["changes"]
    return changes


def _installed() -> bool:
    try:
        installed = json.loads((_PACKAGE / "package.json").read_text(encoding="utf-8"))["version"]
    except FileNotFoundError:
        return False
    pinned = json.loads((MANIFEST / "package.json").read_text(encoding="utf-8"))["dependencies"]["@redocly/cli"]
    return bool(installed == pinned)


def _output(*arguments: str) -> Any:
    reason = unavailable()
    if reason is not None:
        raise RedoclyError(reason)
    program = ["node", str(_PACKAGE / "bin" / "cli.js")]
    process = _run(
        [*program, *arguments, "--format=json", f"--config={CONFIGURATION}", "--lint-config=error"], cwd=ROOT
    )
    try:
        return json.loads(process.stdout)
    except ValueError:
        # The lines in frames are advertisements.
        messages = [line for line in process.stderr.splitlines() if line.strip() and line.strip()[0] not in "╔║╚"]
        raise RedoclyError(
            f"redocly {arguments[0]} failed with {process.returncode}:\n" + "\n".join(messages)
        ) from None


def _run(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **_NO_NETWORK}, capture_output=True, text=True, encoding="utf-8"
    )


def main(arguments: list[str]) -> int:
    if arguments != ["install"]:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        install()
    except RedoclyError as error:
        print(f"NOT TESTED with redocly: {error}", file=sys.stderr)
        return 1 if os.environ.get("CI") or shutil.which("node") else 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
