"""Run tests in forked processes that have imported pytest and the dependencies, but nothing of the project."""

from __future__ import annotations

import gc
import importlib
import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mutation.coverage_plugin import CoveragePlugin
from mutation.mutants import Result

# What most tests import. A forked process has them already. Without hypothesis: once it is imported, its pytest plugin
# reads all modules of the project.
_PRELOADED = (
    *("_pytest.assertion.rewrite", "aiohttp", "asyncio", "click", "click.testing", "concurrent.futures"),
    *("cryptography.hazmat.primitives.asymmetric.rsa", "cryptography.hazmat.primitives.serialization.pkcs12"),
    *("cryptography.x509", "dateutil.parser", "email", "http.server"),
    *(
        "multiprocessing",
        "opentelemetry.sdk.trace",
        "opentelemetry.sdk.metrics",
        "rich.console",
        "starlette.applications",
    ),
    *("ssl", "trustme", "urllib3", "uvicorn", "yaml"),
)
_OPTIONS = (
    *("-q", "--no-header", "-p", "no:cacheprovider", "--hypothesis-seed=0", "--tb=short"),
    # The assertions of plugins that are imported already.
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
)
_MEMORY = 6 << 30
# The file in which the coverage of the tests is kept from one run to the next.
COVERAGE = "coverage.pickle"
# Seconds for the tests of one file, when their coverage is recorded.
_LONGEST_FILE = 240


class _Report:
    """A pytest plugin that runs the selected tests in their order, and records the first failure."""

    def __init__(self, selected: Sequence[str]) -> None:
        self.order = {test: index for index, test in enumerate(selected)}
        self.by = ""
        self.why = ""
        self.ran = 0

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        if self.order:
            items[:] = sorted((item for item in items if item.nodeid in self.order), key=lambda i: self.order[i.nodeid])

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed and not self.by:
            self.by, self.why = report.nodeid, str(report.longrepr)[-300:]

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and not self.by:
            self.by, self.why = report.nodeid, str(report.longrepr)[-300:]
        self.ran += report.when == "call" and report.passed


def preload() -> None:
    """Import what forked processes need, and keep the garbage collector from copying it."""
    for name in _PRELOADED:
        with suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()


def share_bytecode(trees: Sequence[Path]) -> None:
    """Copy the compiled modules of each tree into the others, whose sources are the same."""
    for tree in trees:
        for compiled in tree.rglob("__pycache__/*.pyc"):
            for other in trees:
                target = other / compiled.relative_to(tree)
                if not target.exists() and target.parent.parent.is_dir():
                    target.parent.mkdir(exist_ok=True)
                    shutil.copy2(compiled, target)


def copy_tree(root: Path, folder: Path) -> None:
    """Copy the project as it is in the working tree, with files that are not committed yet.

    Compiled modules stay: Python compares them with the time and the size of their source.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (root / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)
    for path in folder.rglob("*.py"):
        if not (root / path.relative_to(folder)).exists():
            path.unlink()
    modules = root / "tools" / "npm" / "node_modules"
    if modules.is_dir() and not (folder / "tools" / "npm" / "node_modules").exists():
        (folder / "tools" / "npm" / "node_modules").symlink_to(modules)


@contextmanager
def mutated(tree: Path, file: str, source: str) -> Iterator[None]:
    """Write a module, without the compiled one that Python would prefer, and restore both."""
    path = tree / file
    status = path.stat()
    original = path.read_bytes()
    compiled = [(cache, cache.with_suffix(".off")) for cache in path.parent.glob(f"__pycache__/{path.stem}.*.pyc")]
    for cache, hidden in compiled:
        cache.rename(hidden)
    path.write_text(source, "utf-8")
    try:
        yield
    finally:
        path.write_bytes(original)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        for cache in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            cache.unlink()
        for cache, hidden in compiled:
            hidden.rename(cache)


@dataclass
class Slot:
    """A copy of the project in which one run at a time takes place."""

    tree: Path
    process: int = 0
    pipe: int = -1
    started: float = 0.0
    limit: float = 0.0
    job: Any = None
    restore: Any = None
    output: bytearray = field(default_factory=bytearray)

    def start(self, job: Any, files: Collection[str], tests: Sequence[str], limit: float) -> None:
        """Begin a run of tests that stops at the first failure."""
        self.job, self.limit, self.started, self.output = job, limit, time.monotonic(), bytearray()

        def run(write: int) -> None:
            report = _Report(tests)
            code = pytest.main([*_OPTIONS, "-x", f"--basetemp={self.tree}.tmp", *files], plugins=[report])
            os.write(write, json.dumps([int(code), report.by, report.why, report.ran]).encode())

        self.process, self.pipe = fork(self.tree, run)

    def poll(self) -> Result | None:
        """The result, once the run has ended or has exceeded its time."""
        seconds = time.monotonic() - self.started
        done, status = os.waitpid(self.process, os.WNOHANG)
        if not done and seconds < self.limit:
            return None
        with suppress(ProcessLookupError):
            os.killpg(self.process, signal.SIGKILL)
        if not done:
            os.waitpid(self.process, 0)
            os.close(self.pipe)
            return Result("timeout", seconds=seconds)
        written = b"".join(iter(lambda: os.read(self.pipe, 65536), b""))
        os.close(self.pipe)
        if not written:
            return Result("killed", "", f"the process ended with status {status}", seconds)
        code, by, why, ran = json.loads(written)
        # 0: all passed; 5: no test was selected.
        return Result("survived" if code in (0, 5) else "killed", by, why, seconds, ran)


def fork(tree: Path, action: Callable[[int], None], *, bytecode: bool = False) -> tuple[int, int]:
    """Run a function in a child process, in a copy of the project. Returns the process and a pipe that it can write."""
    read, write = os.pipe()
    process = os.fork()
    if process:
        os.close(write)
        return process, read
    try:
        os.close(read)
        os.setsid()
        os.chdir(tree)
        with open(f"{tree}.log", "wb") as log, open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        tools = Path(__file__).resolve().parents[1]
        for name in list(sys.modules):
            if name.partition(".")[0] == "mutation":
                del sys.modules[name]
        sys.path[:] = [str(tree), *(entry for entry in sys.path if Path(entry or ".").resolve() != tools)]
        os.environ["PYTHONPATH"] = str(tree)
        if not bytecode:
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        sys.dont_write_bytecode = not bytecode
        action(write)
        os._exit(0)
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    os._exit(70)


def record_coverage(
    trees: Sequence[Path], folder: Path, source: list[str], files: Sequence[str], *, keep: bool
) -> list[str]:
    """Run tests once, each file in its own process, and write which lines each test covers into a file.

    With ``keep``, what the file already contains about other tests is kept.

    Returns:
        The files whose tests did not run to the end.
    """
    queue = list(files)
    running: dict[int, tuple[Path, str, float]] = {}
    unfinished: list[str] = []
    recorded: dict[str, dict[str, Any]] = {"lines": {}, "durations": {}, "failed": {}, "users": {}}
    if keep:
        recorded = pickle.loads((folder / COVERAGE).read_bytes())  # noqa: S301 - written by this tool
    while queue or running:
        for tree in trees:
            if queue and tree not in [busy for busy, _, _ in running.values()]:
                file = queue.pop(0)
                process, pipe = fork(tree, partial(_record_file, tree, folder, source, file), bytecode=True)
                os.close(pipe)
                running[process] = (tree, file, time.monotonic())
        for process, (tree, file, started) in list(running.items()):
            done, _ = os.waitpid(process, os.WNOHANG)
            if not done and time.monotonic() - started < _LONGEST_FILE:
                continue
            with suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)
            if not done:
                os.waitpid(process, 0)
            del running[process]
            output = folder / f"{tree.name}.pickle"
            if output.exists():
                _merge(recorded, pickle.loads(output.read_bytes()))  # noqa: S301 - written by this tool
                output.unlink()
            else:
                unfinished.append(file)
        time.sleep(0.02)
    (folder / COVERAGE).write_bytes(pickle.dumps(recorded))
    return unfinished


def _record_file(tree: Path, folder: Path, source: list[str], file: str, pipe: int) -> None:
    plugin = CoveragePlugin(tree, folder / f"{tree.name}.coverage", source)
    plugin.start()
    code = pytest.main([*_OPTIONS, f"--basetemp={tree}.tmp", file], plugins=[plugin])
    data = plugin.stop()
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
        # For example a module that cannot be imported. Without the file, the caller reports it.
        return
    lines = {
        Path(name).resolve().relative_to(tree).as_posix(): data.contexts_by_lineno(name)
        for name in data.measured_files()
    }
    recorded = {"lines": lines, "durations": plugin.durations, "failed": plugin.failed, "users": plugin.users}
    for leftover in folder.glob(f"{tree.name}.coverage*"):
        leftover.unlink()
    (folder / f"{tree.name}.pickle").write_bytes(pickle.dumps(recorded))


def _merge(recorded: dict[str, dict[str, Any]], more: dict[str, dict[str, Any]]) -> None:
    for file, lines in more.pop("lines").items():
        merged = recorded["lines"].setdefault(file, {})
        for line, tests in lines.items():
            merged.setdefault(line, []).extend(filter(None, tests))
    for name, tests in more.pop("users").items():
        recorded["users"].setdefault(name, []).extend(tests)
    for name, values in more.items():
        recorded[name].update(values)
