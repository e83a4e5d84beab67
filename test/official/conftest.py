"""The official SDK in an environment of its own, made once and kept, and a process in it that takes requests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
# Seconds; this only ends a hang.
PATIENCE = 60

Ask = Callable[..., Any]


class SdkError(Exception):
    """What the SDK raised, by its class, the status and body of the answer if it had any, and the text."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__(f"{answer['error']}: {answer['text']}")
        self.name: str = answer["error"]
        self.status: int | None = answer.get("status")
        self.body: str | None = answer.get("body")


@pytest.fixture(scope="session")
def sdk_python() -> Path:
    """The interpreter with the official SDK. Its environment is made anew only when the pins change."""
    folder = Path(os.environ["CYBERSOURCE_FLEX_OFFICIAL_SDK"])
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pins, stamp = (HERE / "requirements.txt").read_text("utf-8"), folder / "installed.txt"
    wanted = f"{sys.version}\n{pins}"
    if not stamp.is_file() or stamp.read_text("utf-8") != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, "--requirement", HERE / "requirements.txt"], check=True)
        stamp.write_text(wanted, "utf-8")
    return python


@dataclass
class Sdk:
    """The process with the SDK. One for all tests: importing the SDK alone takes more than a second."""

    process: subprocess.Popen[str]
    errors: Path

    def __call__(self, what: str, argument: str = "", **more: Any) -> Any:
        """The result, or `SdkError`."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        watch = threading.Timer(PATIENCE, self.process.kill)
        watch.start()
        try:
            self.process.stdin.write(json.dumps({"what": what, "argument": argument, **more}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        finally:
            watch.cancel()
        assert line, self.errors.read_text("utf-8", "replace")[-3000:]
        answer = json.loads(line)
        if "error" in answer:
            raise SdkError(answer)
        return answer["result"]


@pytest.fixture(scope="session")
def start_sdk(sdk_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[bytes], Sdk]]:
    """Starts the process, trusting certifi's authorities and one more."""
    folder = tmp_path_factory.mktemp("sdk")
    started: list[subprocess.Popen[str]] = []

    def start(ca_pem: bytes) -> Sdk:
        show = [sdk_python, "-c", "import certifi; print(certifi.where())"]
        known = Path(subprocess.run(show, check=True, capture_output=True, text=True).stdout.strip())
        (folder / "ca.pem").write_bytes(known.read_bytes() + b"\n" + ca_pem)
        errors = folder / "stderr.txt"
        with errors.open("w") as sink:
            process = subprocess.Popen(
                [sdk_python, "-X", "utf8", HERE / "sdk_client.py", folder / "ca.pem", folder / "logs"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sink,
                encoding="utf-8",
                cwd=folder,
            )
        started.append(process)
        return Sdk(process, errors)

    yield start
    for process in started:
        # Closes its input, which ends it.
        process.communicate(timeout=PATIENCE)
