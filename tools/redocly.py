"""The linter and the diff of redocly, from the one npm package that tools/npm pins. Needs Node.js 20.19 or newer.

    python tools/redocly.py install    fetch it, once; nothing to do and no network needed where it is there

It calls nobody while it works: telemetry, the search for updates and announcements are off.
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
_SILENT: Final = {
    "REDOCLY_TELEMETRY": "off",
    "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true",
    "REDOCLY_SUPPRESS_NOTIFICATIONS": "true",
    "NO_COLOR": "1",
}


class RedoclyError(Exception):
    """Redocly cannot be run, or did not answer. The message says why."""


def unavailable() -> str | None:
    """Why redocly cannot be run here, or None where it can."""
    if shutil.which("node") is None:
        return "needs Node.js 20.19 or newer on PATH"
    if not _installed():
        return "needs `python tools/redocly.py install`"
    return None


def install() -> None:
    """Fetch the pinned package unless it is there.

    Raises:
        RedoclyError: there is no npm, or npm failed.
    """
    if _installed():
        return
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise RedoclyError("needs Node.js 20.19 or newer, with npm, on PATH")
    done = _run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=MANIFEST)
    if done.returncode or not _installed():
        raise RedoclyError(f"npm ci failed in {MANIFEST}:\n{done.stdout}{done.stderr}")


def lint(document: Path) -> list[dict[str, Any]]:
    """What redocly finds wrong in an OpenAPI document, each finding as redocly's own JSON has it.

    Raises:
        RedoclyError: redocly cannot be run.
    """
    answer = _ask("lint", str(document), "--max-problems=1000")
    found: list[dict[str, Any]] = answer["problems"]
    return found


def diff(before: Path, after: Path) -> list[dict[str, Any]]:
    """The changes from one OpenAPI document to another, each as redocly's own JSON has it.

    Raises:
        RedoclyError: redocly cannot be run, or cannot read one of the documents.
    """
    answer = _ask("diff", str(before), str(after), "--fail-on=none")
    found: list[dict[str, Any]] = answer["changes"]
    return found


def _installed() -> bool:
    try:
        found = json.loads((_PACKAGE / "package.json").read_text(encoding="utf-8"))["version"]
    except FileNotFoundError:
        return False
    wanted = json.loads((MANIFEST / "package.json").read_text(encoding="utf-8"))["dependencies"]["@redocly/cli"]
    return bool(found == wanted)


def _ask(*arguments: str) -> Any:
    reason = unavailable()
    if reason is not None:
        raise RedoclyError(reason)
    program = ["node", str(_PACKAGE / "bin" / "cli.js")]
    done = _run([*program, *arguments, "--format=json", f"--config={CONFIGURATION}", "--lint-config=error"], cwd=ROOT)
    try:
        return json.loads(done.stdout)
    except ValueError:
        # Frames hold advertisements.
        said = [line for line in done.stderr.splitlines() if line.strip() and line.strip()[0] not in "╔║╚"]
        raise RedoclyError(f"redocly {arguments[0]} failed with {done.returncode}:\n" + "\n".join(said)) from None


def _run(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **_SILENT}, capture_output=True, text=True, encoding="utf-8"
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
