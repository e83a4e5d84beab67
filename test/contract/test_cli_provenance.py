"""``cybersource-flex provenance`` on copies of the package: differences that it reports, and its exit codes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "cybersource_flex"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    copy = tmp_path / "cybersource_flex"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "emulator"))
    return copy


def run(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "cybersource_flex.cli", "provenance", *arguments],
        cwd=path if path.is_dir() else path.parent,
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_an_untouched_package_is_verified(package: Path) -> None:
    result = run(package.parent)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.startswith("verified: ")
    assert "openapi-generator-cli 7." in result.stdout
    assert "  openapi.yaml\n" in result.stdout
    assert hashlib.sha256((package / "provenance.json").read_bytes()).hexdigest() in result.stdout


def test_json(package: Path) -> None:
    report = json.loads(run(package.parent, "--json").stdout)
    assert report["verified"] is True
    record = json.loads((package / "provenance.json").read_bytes())
    assert report["record"]["inputs"] == record["inputs"]
    assert set(report["files"]) == set(record["outputs"])
    assert set(report["files"].values()) == {"same"}
    for path, digest in record["outputs"].items():
        assert hashlib.sha256((package.parent / path).read_bytes()).hexdigest() == digest


def test_a_package_in_a_zip_archive(package: Path, tmp_path: Path) -> None:
    archive = tmp_path / "package.zip"
    with zipfile.ZipFile(archive, "w") as writer:
        for path in sorted(package.rglob("*")):
            writer.write(path, path.relative_to(tmp_path))
    shutil.rmtree(package)
    assert run(archive).returncode == 0
    with zipfile.ZipFile(archive, "a") as writer:
        writer.writestr("cybersource_flex/models/by_hand.py", "")
    result = run(archive, "--json")
    assert result.returncode == 1
    assert json.loads(result.stdout)["files"]["cybersource_flex/models/by_hand.py"] == "unknown"


def test_changed_missing_and_unknown_files_are_reported(package: Path) -> None:
    changed = package / "api_client.py"
    changed.write_bytes(changed.read_bytes() + b"\n")
    (package / "models" / "card_fields.py").unlink()
    (package / "models" / "deep").mkdir()
    (package / "models" / "deep" / "added.py").write_bytes(b"")
    (package / "api" / "__pycache__").mkdir(exist_ok=True)
    (package / "api" / "__pycache__" / "flex_api_api.cpython-311.pyc").write_bytes(b"")
    result = run(package.parent)
    assert result.returncode == 1
    assert result.stdout.startswith("not verified: files differ from what the generator wrote: 3\n")
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[1:4] == [
        ["changed", "cybersource_flex/api_client.py"],
        ["missing", "cybersource_flex/models/card_fields.py"],
        ["unknown", "cybersource_flex/models/deep/added.py"],
    ]
    states = json.loads(run(package.parent, "--json").stdout)
    assert states["verified"] is False
    assert {path: state for path, state in states["files"].items() if state != "same"} == {
        path: state for state, path in rows[1:4]
    }


def test_changed_line_endings_are_reported(package: Path) -> None:
    changed = package / "configuration.py"
    changed.write_bytes(changed.read_bytes().replace(b"\n", b"\r\n"))
    result = run(package.parent)
    assert result.returncode == 1
    assert "changed       cybersource_flex/configuration.py" in result.stdout


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (None, "is missing"),
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "another format"),
        (b'{"format": 2}', "another format"),
        (b'{"format": 1}', "is incomplete"),
        (b'{"format": 1, "inputs": {"a": "b"}, "tools": {"a": "\x1b"}, "outputs": {"a": "b"}}', "is not JSON"),
        (b'{"format": 1, "inputs": {"a": "b"}, "tools": {"a": "\\u001b"}, "outputs": {"a": "b"}}', "is incomplete"),
        (
            b'{"format": 1, "inputs": {"a": "b"}, "tools": {"a": "b"}, "folders": [],'
            b' "outputs": {"cybersource_flex/../a": "b"}}',
            "outside of the package",
        ),
    ],
)
def test_an_invalid_record_is_an_error(package: Path, record: bytes | None, message: str) -> None:
    if record is None:
        (package / "provenance.json").unlink()
    else:
        (package / "provenance.json").write_bytes(record)
    result = run(package.parent)
    assert result.returncode == 1
    assert result.stdout == ""
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
