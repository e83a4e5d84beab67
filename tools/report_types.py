"""The tests of the tree before, held against the types of the code after: what they wrote must still be right."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from verdict import Finding, Impact

SOURCE: Final = "previous tests"

_USES_GENERATED: Final = re.compile(r"cybersource_flex\.(models|api|api_client|configuration)\b|\b(ApiClient|\w+Api)\b")
# Not the strictness of either tree: the same for both, so that only what differs is left.
_MYPY: Final = (
    *(sys.executable, "-m", "mypy", "--config-file=", "--no-pretty", "--no-error-summary", "--hide-error-context"),
    *("--check-untyped-defs", "--ignore-missing-imports", "--namespace-packages", "--explicit-package-bases"),
    *("--python-version", "3.11", "--cache-dir", os.devnull, "previous"),
)


class MypyError(Exception):
    """Mypy did not check anything. The message says why."""


def findings(before: Path, after: Path) -> tuple[list[Finding], int]:
    """What mypy finds in the tests of ``before`` with the code of ``after`` and does not with their own.

    Returns:
        The errors, and how many files were checked.

    Raises:
        MypyError: mypy stopped before it had checked them.
    """
    with tempfile.TemporaryDirectory(prefix="previous-") as name:
        folder = Path(name)
        count = _copy_tests(before / "test", folder / "previous")
        if not count:
            return [], 0
        with ThreadPoolExecutor(2) as pool:
            known, found = pool.map(lambda tree: _errors(folder, tree), (before, after))
    return [
        Finding(Impact.MAJOR, place, what, SOURCE)
        for place, what in sorted((Counter(found) - Counter(known)).elements())
    ], count


def _copy_tests(tests: Path, folder: Path) -> int:
    """Those in test/typing, which is made for this, and every other that uses what is generated."""
    count = 0
    for file in sorted(tests.rglob("*.py")):
        inner = file.relative_to(tests)
        if inner.parts[0] == "typing" or _USES_GENERATED.search(file.read_text(encoding="utf-8")):
            target = folder / inner
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
            count += 1
    return count


def _errors(folder: Path, tree: Path) -> list[tuple[str, str]]:
    """Place and message of every error in the copied tests."""
    done = subprocess.run(
        _MYPY,
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(tree)},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    if done.returncode not in (0, 1):
        raise MypyError(f"mypy stopped with {done.returncode}:\n{done.stdout}{done.stderr}")
    lines = (line.replace("\\", "/") for line in done.stdout.splitlines())
    found = (re.fullmatch(r"previous/(.+?:\d+): error: (.+)", line) for line in lines)
    return [(f"test/{error[1]}", error[2]) for error in found if error]
