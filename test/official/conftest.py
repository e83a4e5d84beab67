"""The official SDK in a separate environment, which is created once, and a process in it that runs its calls."""

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
# Seconds. Only a process that hangs takes this long.
TIMEOUT = 60


class SdkError(Exception):
    """An exception of the SDK: its class and message, and the status and body of the response if there was one."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__(f"{result['error']}: {result['message']}")
        self.name: str = result["error"]
        self.status: int | None = result.get("status")
        self.body: str | None = result.get("body")


@pytest.fixture(scope="session")
def sdk_python() -> Path:
    """The interpreter with the official SDK. Its environment is created again only if the pinned versions change."""
    folder = Path(os.environ["CYBERSOURCE_FLEX_OFFICIAL_SDK"])
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pins, stamp = (HERE / "requirements.txt").read_text("utf-8"), folder / "installed.txt"
    expected = f"{sys.version}\n{pins}"
    if not stamp.is_file() or stamp.read_text("utf-8") != expected:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        uv = os.environ.get("TOX_UV")
        install = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
        subprocess.run([*install, "--quiet", "--requirement", HERE / "requirements.txt"], check=True)
        stamp.write_text(expected, "utf-8")
    return python


@dataclass
class Sdk:
    """The process with the SDK. All tests share one, because importing the SDK takes more than a second."""

    process: subprocess.Popen[str]
    errors: Path

    def __call__(self, what: str, argument: str = "", **more: Any) -> Any:
        """Run a call and return its result, or raise `SdkError`."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        watch = threading.Timer(TIMEOUT, self.process.kill)
        watch.start()
        try:
            self.process.stdin.write(json.dumps({"what": what, "argument": argument, **more}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        finally:
            watch.cancel()
        assert line, self.errors.read_text("utf-8", "replace")[-3000:]
        result = json.loads(line)
        if "error" in result:
            raise SdkError(result)
        return result["value"]


@pytest.fixture(scope="session")
def start_sdk(sdk_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[bytes], Sdk]]:
    """Starts the process. It trusts the CAs of certifi and one more."""
    folder = tmp_path_factory.mktemp("sdk")
    started: list[subprocess.Popen[str]] = []

    def start(ca_pem: bytes) -> Sdk:
        show = [sdk_python, "-c", "import certifi; print(certifi.where())"]
        certifi_bundle = Path(subprocess.run(show, check=True, capture_output=True, text=True).stdout.strip())
        (folder / "ca.pem").write_bytes(certifi_bundle.read_bytes() + b"\n" + ca_pem)
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
        # Closes its input, so that it exits.
        process.communicate(timeout=TIMEOUT)
