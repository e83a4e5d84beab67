"""The Python examples on the pages for users."""

from __future__ import annotations

import re
from typing import NamedTuple

from support.paths import ROOT

# The instructions for coding assistants that the package contains.
SKILL = "cybersource_flex/.agents/skills/cybersource-flex/SKILL.md"
PAGES = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")), SKILL]
MODEL_PAGES = [page for page in PAGES if page.startswith("docs/models/")]


class Block(NamedTuple):
    """A block of Python on a page.

    Attributes:
        page: path of the page, from the root of the repository.
        line: number of the block's first line.
        code: the source code.
    """

    page: str
    line: int
    code: str

    @property
    def place(self) -> str:
        """Page and line number, for tracebacks and the names of tests."""
        return f"{self.page}:{self.line}"


def python_blocks(page: str) -> list[Block]:
    content = (ROOT / page).read_text(encoding="utf-8")
    matches = re.finditer(r"^```python\n(.*?)^```$", content, re.MULTILINE | re.DOTALL)
    return [Block(page, content.count("\n", 0, match.start()) + 2, match[1]) for match in matches]
