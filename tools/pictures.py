"""Make the pictures of the pages: the studio in a browser, and the output of ``cybersource-flex demo``.

    python tools/pictures.py

Needs Playwright and the program `chromium`. The pictures are in ``docs/pictures/``; its other files are hand-written.
"""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"
# The steps of the demo in its picture. All of them would not fit on a page.
FIRST_STEP, LAST_STEP = 4, 6
STUDIO_SIZE = {"width": 1200, "height": 860}
WEBP_QUALITY = 80


def demo_output() -> list[str]:
    """The lines of ``cybersource-flex demo`` with escape sequences for colours."""
    program = Path(sys.executable).with_name("cybersource-flex")
    environ = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "100"}
    run = subprocess.run([program, "demo"], env=environ, stdout=subprocess.PIPE, encoding="utf-8", check=True)
    return run.stdout.splitlines()


def step_number(line: str) -> int | None:
    """The number of the step that begins with a line of the demo."""
    match = re.match(r"(\d+)\. ", Text.from_ansi(line).plain)
    return int(match[1]) if match else None


def demo_svg(lines: list[str]) -> str:
    """Draw some steps of the demo as a terminal. The file loads no font from another host."""
    starts = {step: number for number, line in enumerate(lines) if (step := step_number(line))}
    steps = [Text.from_ansi(line) for line in lines[starts[FIRST_STEP] : starts[LAST_STEP + 1]]]
    while not steps[-1].plain.strip():
        steps.pop()
    width = max(line.cell_len for line in steps)
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in steps:
        console.print(line, soft_wrap=True)
    svg = console.export_svg(title="cybersource-flex demo", theme=MONOKAI, unique_id="demo")
    svg = re.sub(r"@font-face \{.*?\}|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code", "ui-monospace, Menlo, Consolas")
    return re.sub(r"\s*\n\s*", "\n", svg)


def studio_webp() -> bytes:
    """Take a picture of the studio after all steps have run and a payment was made."""
    from playwright.sync_api import sync_playwright

    from cybersource_flex.emulator import Emulator

    with sync_playwright() as playwright, Emulator() as emulator:
        path = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport=STUDIO_SIZE, color_scheme="light")  # type: ignore[arg-type]
        page.goto(emulator.url)
        page.locator("#number-container iframe").wait_for()
        page.get_by_role("button", name="Run all steps").click()
        page.locator("#step-list .step-head .good").nth(5).wait_for()
        pay(page)
        page.evaluate("scrollTo(0, 0)")
        picture = page.context.new_cdp_session(page).send(
            "Page.captureScreenshot", {"format": "webp", "quality": WEBP_QUALITY}
        )
        browser.close()
    return base64.b64decode(picture["data"])


def pay(page: Any) -> None:
    """Type a test card into the studio's checkout, and pay."""
    page.frame_locator("#number-container iframe").locator("input").first.press_sequentially("4111111111111111")
    page.frame_locator("#code-container iframe").locator("#securityCode").press_sequentially("123")
    page.click("#pay")
    page.locator("#checkout-state.good").wait_for()
    page.locator("#pay:enabled").wait_for()


def main() -> None:
    (FOLDER / "demo.svg").write_text(demo_svg(demo_output()), "utf-8", newline="\n")
    (FOLDER / "studio.webp").write_bytes(studio_webp())
    for path in sorted(FOLDER.iterdir()):
        print(f"{path.stat().st_size:>7} bytes  {path.relative_to(FOLDER.parents[1])}")


if __name__ == "__main__":
    main()
