"""A pytest plugin that records which lines each test runs, and how long it takes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import coverage
import pytest


class CoveragePlugin:
    """Records per test: the lines that it runs, also in Python subprocesses, its duration, and whether it passed."""

    def __init__(self, root: Path, data_file: Path, source: list[str]) -> None:
        self.durations: dict[str, float] = {}
        self.failed: dict[str, str] = {}
        # The tests that use each fixture that several tests share.
        self.users: dict[str, list[str]] = {}
        self._names: list[str] = []
        self._inner = 0.0
        self._configuration = data_file.with_suffix(".ini")
        self._configuration.write_text(
            "[run]\n"
            f"data_file = {data_file}\n"
            "parallel = true\n"
            "context = ${MUTATION_CONTEXT-}\n"
            "disable_warnings = no-data-collected,module-not-measured,module-not-imported,no-ctracer\n"
            "include =\n" + "".join(f"    {_pattern(root / name)}\n" for name in source),
            "utf-8",
        )
        self.coverage = coverage.Coverage(config_file=str(self._configuration))

    def start(self) -> None:
        """Begin to record. Subprocesses record too, because coverage.py starts in each one."""
        os.environ["COVERAGE_PROCESS_START"] = str(self._configuration)
        self.coverage.start()

    def stop(self) -> coverage.CoverageData:
        """The lines of all tests."""
        self.coverage.stop()
        del os.environ["COVERAGE_PROCESS_START"]
        self.coverage.save()
        merged = coverage.Coverage(config_file=str(self._configuration))
        merged.combine()
        merged.save()
        return merged.get_data()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        with self._recorded(item.nodeid):
            result = yield
        definitions = getattr(item, "_fixtureinfo").name2fixturedefs  # noqa: B009 - pytest has no public name for it
        for shared in {_name(definition) for many in definitions.values() for definition in many}:
            if shared in self.durations:
                self.users.setdefault(shared, []).append(item.nodeid)
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        if fixturedef.scope == "function":
            return (yield)
        with self._recorded(_name(fixturedef)):
            return (yield)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.outcome != "passed":
            self.failed[report.nodeid] = report.outcome

    @contextmanager
    def _recorded(self, name: str) -> Iterator[None]:
        """Record lines and time under a name. Lines and time of an inner name do not count for the outer one."""
        self._switch([*self._names, name])
        start, inner, self._inner = time.perf_counter(), self._inner, 0.0
        try:
            yield
        finally:
            elapsed = time.perf_counter() - start
            self.durations[name] = self.durations.get(name, 0.0) + elapsed - self._inner
            self._inner = inner + elapsed
            self._switch(self._names[:-1])

    def _switch(self, names: list[str]) -> None:
        self._names = names
        os.environ["MUTATION_CONTEXT"] = names[-1] if names else ""
        self.coverage.switch_context(names[-1] if names else "")


def _pattern(path: Path) -> str:
    return f"{path}/*" if path.is_dir() else str(path)


def _name(fixture: Any) -> str:
    """The name under which the lines of a fixture that several tests share are recorded."""
    return f"fixture {fixture.baseid}::{fixture.argname}"
