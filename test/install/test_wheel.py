"""The wheel and the sdist: every machine builds the same bytes, and they contain only the package."""

from __future__ import annotations

import email
import importlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.requirements import require_module

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "cybersource_flex"
# 2026-01-01. A zip archive cannot store times before 1980.
EPOCH = "1767225600"

# Size limits in bytes: the wheel, and the modules that a server imports, which are those outside `APART`.
MOST, MOST_OF_LIBRARY = 580_000, 285_000
APART = (".agents", "cli", "emulator", "probe", "testing")

# In the folder *.dist-info.
SBOM = "sboms/cybersource-flex.cdx.json"

SOURCES = (
    "LICENSE",
    "MANIFEST.in",
    "README.md",
    "pyproject.toml",
    "setup.py",
    "tools/dependencies.toml",
    "tools/sbom.py",
    PACKAGE,
)


def needs_builder() -> None:
    try:
        importlib.metadata.version("build")
        setuptools = importlib.metadata.version("setuptools")
    except importlib.metadata.PackageNotFoundError:
        setuptools = "0"
    if int(setuptools.partition(".")[0]) < 77:
        pytest.skip("NOT TESTED: the wheel (pip install -r tools/requirements-build.txt)")


def checkout(where: Path) -> Path:
    """A copy of the sources in a clone, with files that may be left over there."""
    where.mkdir(parents=True)
    for name in SOURCES:
        (where / name).parent.mkdir(exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, where / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, where / name)
    for clutter in (f"{PACKAGE}/__pycache__/a.pyc", f"{PACKAGE}/notes.mustache", "test/test_a.py", "openapi.yaml"):
        (where / clutter).parent.mkdir(exist_ok=True)
        (where / clutter).write_bytes(b"clutter")
    return where


def build(source: Path, out: Path, kind: str, **environment: str) -> Path:
    process = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", str(out), str(source)],
        env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH, **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    (archive,) = out.iterdir()
    return archive


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs_builder()
    return tmp_path_factory.mktemp("wheel")


@pytest.fixture(scope="module")
def wheel(folder: Path) -> Path:
    return build(checkout(folder / "one"), folder / "first", "wheel")


@pytest.fixture(scope="module")
def sdist(folder: Path) -> Path:
    return build(checkout(folder / "two"), folder / "second", "sdist")


@pytest.fixture
def restrictive_umask() -> Iterator[None]:
    """New files are readable by their owner only, until the test ends."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def test_another_machine_builds_the_same_bytes(wheel: Path, folder: Path, restrictive_umask: None) -> None:
    source = checkout(folder / "elsewhere" / "deeper")
    for path in source.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    again = build(source, folder / "again", "wheel", TZ="Asia/Kolkata", LC_ALL="C", PYTHONHASHSEED="7")
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


def test_file_times_are_those_of_the_commit(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(2026, 1, 1, 0, 0, 0)}


def test_the_sdist_contains_the_sources_of_the_wheel(wheel: Path, sdist: Path, folder: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        archive.extractall(folder / "unpacked", filter="data")
    assert {*SOURCES, f"{PACKAGE}/py.typed", f"{PACKAGE}/provenance.json"} <= names
    assert not {name for name in names if name.endswith((".mustache", ".yaml", ".pyc"))}
    (source,) = (folder / "unpacked").iterdir()
    assert build(source, folder / "from-sdist", "wheel").read_bytes() == wheel.read_bytes()


def test_the_wheel_contains_only_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    meta = {name for name in names if ".dist-info/" in name}
    assert len(names) == len(set(names))
    assert {name.partition("/")[2] for name in meta} == {
        *("METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt"),
        *("licenses/LICENSE", SBOM),
    }
    package = (path for path in (ROOT / PACKAGE).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert set(names) - meta == {path.relative_to(ROOT).as_posix() for path in package}
    assert f"{PACKAGE}/py.typed" in names
    others = set(names) - {f"{PACKAGE}/.agents/skills/cybersource-flex/SKILL.md"}
    assert len(others) == len(names) - 1
    assert not {name for name in others if re.search(r"\.(pyc|mustache|ya?ml|md)$|(^|/)tests?/", name)}


def metadata_file(wheel: Path, name: str) -> str:
    """The content of a file in the folder ``*.dist-info`` of the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (each for each in archive.namelist() if each.endswith(f".dist-info/{name}"))
        return archive.read(path).decode("utf-8")


def test_the_metadata_is_complete(wheel: Path) -> None:
    metadata = email.message_from_string(metadata_file(wheel, "METADATA"))
    assert metadata["License-Expression"] == "MIT"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert metadata_file(wheel, "licenses/LICENSE") == (ROOT / "LICENSE").read_text("utf-8")
    assert "MIT License" in metadata_file(wheel, "licenses/LICENSE")
    assert metadata["Requires-Python"] == ">=3.11"
    assert "microform" in metadata["Keywords"].split(",")
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    # A classifier for the licence contradicts the expression, and PyPI rejects it.
    assert not [each for each in metadata.get_all("Classifier", []) if each.startswith("License ::")]


def test_the_description_refers_to_no_file_of_the_repository(wheel: Path) -> None:
    """Package indexes show only the description."""
    description = email.message_from_string(metadata_file(wheel, "METADATA")).get_payload()
    assert isinstance(description, str)
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "![" in readme
    assert "](docs/" in readme
    targets = re.findall(r"\]\(([^)]*)\)", description)
    assert [target for target in targets if not target.startswith("https://")] == []
    assert "![" not in description
    assert re.findall(r"^#+ .*", description, re.MULTILINE) == re.findall(r"^#+ .*", readme, re.MULTILINE)
    code = re.findall(r"^```.*?^```$", readme, re.MULTILINE | re.DOTALL)
    assert code
    assert all(block in description for block in code)


def test_pypi_accepts_the_metadata_and_the_readme(wheel: Path, sdist: Path) -> None:
    require_module("twine", package="twine", not_tested="metadata of the wheel")
    process = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(sdist)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stdout.count("PASSED") == 2


def test_the_sbom_is_valid_cyclonedx(wheel: Path) -> None:
    validation = require_module("cyclonedx.validation.json", package="cyclonedx-python-lib", not_tested="the SBOM")
    schema = importlib.import_module("cyclonedx.schema")
    content = metadata_file(wheel, SBOM)
    version = schema.SchemaVersion.from_version(json.loads(content)["specVersion"])
    error = validation.JsonStrictValidator(version).validate_str(content)
    assert error is None, error


def test_the_sbom_names_every_dependency_of_the_metadata(wheel: Path) -> None:
    bom = json.loads(metadata_file(wheel, SBOM))
    metadata = email.message_from_string(metadata_file(wheel, "METADATA"))
    component = bom["metadata"]["component"]
    assert (component["name"], component["version"]) == (metadata["Name"], metadata["Version"])
    assert component["licenses"] == [{"expression": metadata["License-Expression"]}]
    scopes = {each["name"]: each["scope"] for each in bom["components"]}
    for requirement in metadata.get_all("Requires-Dist", []):
        name = re.split(r"[^A-Za-z0-9._-]", requirement)[0]
        assert scopes[name] == ("optional" if "extra ==" in requirement else "required"), requirement
    assert all(each["licenses"][0]["expression"] for each in bom["components"])
    references = {each["bom-ref"] for each in (component, *bom["components"])}
    assert {each["ref"] for each in bom["dependencies"]} == references
    assert {ref for each in bom["dependencies"] for ref in each["dependsOn"]} < references


def test_the_sbom_contains_nothing_of_the_machine(wheel: Path) -> None:
    bom = json.loads(metadata_file(wheel, SBOM))
    # A hash of the content, which may contain any digits.
    del bom["serialNumber"]
    content = json.dumps(bom)
    assert "timestamp" not in content
    assert str(ROOT) not in content
    assert "2026" not in content


def test_every_file_of_the_package_equals_that_in_the_tree(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith(f"{PACKAGE}/"):
                assert archive.read(name) == (ROOT / name).read_bytes(), name


def test_the_wheel_has_the_list_of_assumptions(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert f"{PACKAGE}/probe/assumptions.json" in archive.namelist()


def test_the_wheel_stays_small(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        library = sum(
            entry.compress_size
            for entry in archive.infolist()
            if entry.filename.startswith(f"{PACKAGE}/") and entry.filename.split("/")[1] not in APART
        )
    assert wheel.stat().st_size <= MOST
    assert library <= MOST_OF_LIBRARY
