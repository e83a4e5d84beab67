"""Check the generated code as a whole: that it works, is typed, and contains everything that the specification does.

- Hand-written modules import nothing from generated ones that is no longer there.
- Every module can be imported.
- Operations, models, fields and parameters are those of the specification, by number and by name.
- ``mypy --strict`` reports nothing about the generated modules, and no missing name in the others. Without mypy this is
  left out, with a note.

The result is remembered for the same files and installed distributions, so that a second run takes no time.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

from generation.python_names import Names
from openapi.document import Document
from openapi.supported_schemas import combined_properties

PACKAGE: Final = "cybersource_flex"

_STATE: Final = Path("build", "self-check")
_HAND_WRITTEN: Final = (PACKAGE, "test", "bench")
# What the package needs to be imported.
_REQUIREMENTS: Final = ("urllib3", "dateutil", "cryptography")
# Programs for other specifications than openapi.yaml.
_OTHER_SPECIFICATIONS: Final = "test/generator/specs/"
_IMPORTS: Final = Path(__file__).resolve().with_name("self_check_imports.py")
_TOOLS: Final = Path(__file__).resolve().parents[1]
# Errors that a missing name causes. Others in hand-written modules may come from extras that are not installed.
_MISSING_NAME: Final = ("attr-defined", "call-arg", "name-defined")
_MYPY: Final = (
    *("--strict", "--config-file=", "--no-pretty", "--no-error-summary", "--python-version", "3.11"),
    *("--ignore-missing-imports", "--no-warn-unused-ignores"),
)


class Result(NamedTuple):
    """What was found.

    Attributes:
        problems: one line for each problem.
        notes: what was not checked, and why.
    """

    problems: list[str]
    notes: list[str]


def check(
    root: Path, document: Document, names: Names, generated: Collection[str], *, hand_written: bool = True
) -> Result:
    """Check the generated files in a project.

    Args:
        root: the project.
        document: the specification.
        names: its names in Python.
        generated: the paths of the generated files.
        hand_written: whether the hand-written modules are checked too. They use the operations of the Flex API.
    """
    missing = [name for name in _REQUIREMENTS if importlib.util.find_spec(name) is None]
    notes = []
    if missing:
        notes.append(f"NOT CHECKED that the modules can be imported: needs {', '.join(missing)} (pip install -e .)")
    has_mypy = importlib.util.find_spec("mypy") is not None
    if not has_mypy:
        notes.append("NOT CHECKED with mypy: pip install -r tools/requirements-report.txt")
    state = root / _STATE / "passed"
    digest = _digest(root, f"{sys.version} {hand_written} {notes}")
    if state.is_file() and state.read_text(encoding="utf-8") == digest:
        return Result([], notes)
    problems = list(missing_names(root, generated)) if hand_written else []
    # A missing name would be reported again for every module that imports this one.
    hand_written = hand_written and not problems
    with ThreadPoolExecutor(2) as pool:
        checks = [pool.submit(_type_problems, root, generated, hand_written)] if has_mypy else []
        if not missing:
            checks.insert(0, pool.submit(_import_problems, root, document, names, generated, hand_written))
    problems += (problem for each in checks for problem in each.result())
    if not problems:
        state.parent.mkdir(parents=True, exist_ok=True)
        state.write_text(digest, encoding="utf-8")
    return Result(list(dict.fromkeys(problems)), notes)


def _digest(root: Path, settings: str) -> str:
    """A hash of everything that decides the result."""
    installed = sorted(f"{each.name} {each.version}" for each in importlib.metadata.distributions())
    digest = hashlib.sha256("\n".join([settings, *installed]).encode())
    sources = [root / "openapi.yaml", *(file for folder in _HAND_WRITTEN for file in (root / folder).rglob("*.py"))]
    files = {file.relative_to(root).as_posix(): file for file in sources}
    # npm installs Python modules in tools/, too.
    tools = (file for file in _TOOLS.rglob("*.py") if "node_modules" not in file.parts)
    files |= {f"tools/{file.relative_to(_TOOLS).as_posix()}": file for file in tools}
    for path, file in sorted(files.items()):
        digest.update(f"{path} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def missing_names(root: Path, generated: Collection[str]) -> Iterator[str]:
    """The imports in hand-written modules of generated names that do not exist, with file and line."""
    modules = {_module(path) for path in generated}
    packages = {f"{PACKAGE}.{name}" for name in ("aio", "api", "models")}
    for folder in _HAND_WRITTEN:
        for file in sorted((root / folder).rglob("*.py")):
            path = file.relative_to(root).as_posix()
            if path in generated or path.startswith(_OTHER_SPECIFICATIONS):
                continue
            for node in ast.walk(ast.parse(file.read_bytes())):
                if not isinstance(node, ast.ImportFrom):
                    continue
                source = _source(node, path)
                if source not in modules and source.rpartition(".")[0] not in packages:
                    continue
                gone = [
                    alias.name
                    for alias in node.names
                    if not _has(root, source, alias.name) and f"{source}.{alias.name}" not in modules
                ]
                if gone:
                    yield f"{path}:{node.lineno}: imports {', '.join(gone)}, which {source} no longer contains"


def _module(path: str) -> str:
    """The module in a file."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _source(node: ast.ImportFrom, path: str) -> str:
    """The module that an import reads."""
    if not node.level:
        return node.module or ""
    parts = path.split("/")[: -node.level]
    return ".".join([*parts, *([node.module] if node.module else [])])


def _has(root: Path, module: str, name: str) -> bool:
    """Whether a module defines or imports a name."""
    file = root / module.replace(".", "/")
    file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
    if not file.is_file():
        return False
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == name:
            return True
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == name:
            return True
        if isinstance(node, (ast.Import, ast.ImportFrom)) and name in (each.asname or each.name for each in node.names):
            return True
    return False


def _import_problems(
    root: Path, document: Document, names: Names, generated: Collection[str], hand_written: bool
) -> list[str]:
    files = [path for path in generated if path.startswith(PACKAGE) and path.endswith(".py")]
    if hand_written:
        files += (file.relative_to(root).as_posix() for file in (root / PACKAGE).rglob("*.py"))
    content = {
        "root": str(root),
        "modules": sorted({_module(path) for path in files if not path.endswith("__main__.py")}),
        "operations": _expected_operations(document, names),
        "models": _expected_models(document, names),
    }
    process = subprocess.run(
        [sys.executable, "-W", "error", "-B", str(_IMPORTS)],
        cwd=root,
        input=json.dumps(content),
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    if process.returncode:
        return [f"the modules cannot be imported:\n{process.stderr.strip()}"]
    problems: list[str] = json.loads(process.stdout)
    return problems


def _expected_operations(document: Document, names: Names) -> dict[str, dict[str, Any]]:
    """The name and the parameters of each operation, by class and then by method and path."""
    result: dict[str, dict[str, Any]] = {}
    for (path, method), name in names.operations.items():
        operation = document["paths"][path][method]
        parameters = names.parameters[path, method]
        arguments = sorted(parameters.by_place.values())
        if "requestBody" in operation:
            arguments.append(parameters.body)
        stem = names.tags[operation["tags"][0]]
        result.setdefault(f"{stem}Api", {})[f"{method.upper()} {path}"] = [name, sorted(arguments)]
    return result


def _expected_models(document: Document, names: Names) -> dict[str, dict[str, str] | None]:
    """The attribute of each member of each model; None for enums and unions."""
    schemas = document.get("components", {}).get("schemas", {})
    result: dict[str, dict[str, str] | None] = {}
    for title, name in names.classes.items():
        schema = schemas[title]
        is_model = "enum" not in schema and "oneOf" not in schema
        properties = combined_properties(document, schema) if is_model else {}
        result[name] = {member: names.fields[title][member] for member in properties} if is_model else None
    return result


def _type_problems(root: Path, generated: Collection[str], hand_written: bool) -> list[str]:
    modules = sorted(path for path in generated if path.endswith(".py"))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment.setdefault("MYPY_CACHE_DIR", str(root / _STATE / "mypy"))
    process = subprocess.run(
        [sys.executable, "-m", "mypy", *_MYPY, *(("--package", PACKAGE) if hand_written else modules)],
        cwd=root,
        env={**environment, "MYPYPATH": str(root)},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    if process.returncode not in (0, 1):
        return [f"mypy stopped with {process.returncode}:\n{process.stdout}{process.stderr}".strip()]
    problems = []
    for line in process.stdout.splitlines():
        error = re.fullmatch(r"(.+?):\d+: error: .*\[([a-z-]+)\]", line)
        if error is None:
            continue
        path = error[1].replace("\\", "/")
        if path in generated or (hand_written and error[2] in _MISSING_NAME):
            problems.append(line)
    return problems
