"""The commands in the README of the example, and the program on the page about scaling."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

from support.page_blocks import tool_block

from .conftest import FOLDER, TIMEOUT, Run


def test_the_commands_in_the_readme(run: Run, worker: subprocess.Popen[bytes]) -> None:
    page = (FOLDER / "README.md").read_text("utf-8")
    lines = "".join(re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)).splitlines()
    # The tox environment runs this one.
    assert lines.pop(0) == "pip install -r requirements.txt"
    copy = run.folder / "example"
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("__pycache__", "*.ndjson", "*tokens"))
    outputs = [
        subprocess.run(line, shell=True, cwd=copy, env=run.environ, check=True, capture_output=True, timeout=TIMEOUT)  # noqa: S602
        for line in lines
    ]
    (summary,) = re.findall(r"such as `(200 lines.*?)`", page)
    assert [output.stdout.decode() for output in outputs] == ["", f"{summary}\n", f"{summary}\n"]
    assert run.count_tokens() == 400


def test_the_program_with_a_process_pool(run: Run) -> None:
    run.write_cards(20)
    program = run.folder / "program.py"
    program.write_text(tool_block("scaling.md", "ProcessPoolExecutor"), "utf-8")
    run.environ["PYTHONPATH"] = str(FOLDER)
    assert "'tokens': 20, 'failed': 0" in run.finish(run.start(sys.executable, program))
    assert len(run.tokens()) == run.count_tokens() == 20
