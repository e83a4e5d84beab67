"""List the tests that were skipped in the last run of tox, by reason, and what else did not run.

    python tools/not_tested.py

Each environment writes the reasons to a file, see test/conftest.py. A reason that says how to install what is missing
fails a run with the variable ``CI``, because such a run has to install it. ``.ci/run`` names the Debian packages that
it could not install in ``CYBERSOURCE_FLEX_NOT_INSTALLABLE``.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
_PACKAGE: Final = re.compile(r"\((Debian: apt-get|pip) install (?:-r )?([\w./-]+)\)")


def main(environ: Mapping[str, str], root: Path) -> int:
    """Print the list. Returns 1 if the run had to install something that is missing."""
    pyproject: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    lines: list[str] = []
    missing: list[str] = []
    excused = environ.get("CYBERSOURCE_FLEX_NOT_INSTALLABLE", "").split()
    for name in pyproject["tool"]["tox"]["env_list"]:
        folder = root / ".tox" / name
        if not folder.is_dir():
            lines.append(f"{name}: did not run, because this machine does not have its Python version")
            continue
        file = folder / "not-tested.json"
        skipped: dict[str, int] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        for reason, count in sorted(skipped.items()):
            lines.append(f"{name}: {count} test{'s' * (count != 1)}: {reason}")
            package = _PACKAGE.search(reason)
            if package is not None and package[2] not in excused:
                missing.append(package[2])
    print("\nNot tested:" if lines else "\nNo test was skipped.")
    for line in lines:
        print(f"  {line}")
    if missing and environ.get("CI"):
        print(f"A run with CI set must install what its tests need: {', '.join(sorted(set(missing)))}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ, ROOT))
