"""Write the pages that are generated from cybersource_flex/probe/assumptions.json and the emulator's code.

python tools/probe_pages.py           write the pages
python tools/probe_pages.py --check   fail if a page is not up to date
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from cybersource_flex.probe.ledger import Ledger, load_ledger  # noqa: E402
from page_content import assumptions, emulator_coverage  # noqa: E402

PAGES: Final[Mapping[str, Callable[[Ledger], str]]] = {
    "docs/assumptions.md": assumptions.write_page,
    "docs/coverage.md": emulator_coverage.write_page,
}


def main(arguments: list[str]) -> int:
    """Write or check the pages. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="probe_pages.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is not up to date")
    check = parser.parse_args(arguments).check
    ledger = load_ledger()
    outdated = 0
    for path, write_page in PAGES.items():
        content = write_page(ledger)
        if not check:
            (ROOT / path).write_text(content, encoding="utf-8", newline="\n")
        elif (ROOT / path).read_text(encoding="utf-8") != content:
            outdated = 1
            print(f"{path} is not up to date: run `make probe-pages`", file=sys.stderr)
    return outdated


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
