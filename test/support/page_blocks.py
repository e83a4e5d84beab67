"""Code blocks of the documentation that need a third-party tool. They begin with ``py``, not ``python``."""

from __future__ import annotations

import re

from support.paths import ROOT


def tool_block(page: str, word: str) -> str:
    """The only block of a page that contains the word."""
    content = (ROOT / "docs" / page).read_text("utf-8")
    (block,) = [each for each in re.findall(r"^```py\n(.*?)^```$", content, re.MULTILINE | re.DOTALL) if word in each]
    return block
