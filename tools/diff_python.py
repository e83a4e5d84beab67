"""What changed in the public Python API between two trees of the project: names, parameters and types.

Public is what the packages' ``__all__`` name, and the public members of those classes. Griffe reads both trees without
importing them and says what breaks; what was added, and types, which griffe does not compare, are compared here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import griffe
from semver_impact import Finding, Impact

SOURCE: Final = "Python"
TESTS_SOURCE: Final = "previous tests"
PACKAGE: Final = "cybersource_flex"

_USES_GENERATED: Final = re.compile(r"cybersource_flex\.(models|api|api_client|configuration)\b|\b(ApiClient|\w+Api)\b")
# Not the strictness of either tree: the same for both, so that only what differs is left.
_MYPY: Final = (
    *(sys.executable, "-m", "mypy", "--config-file=", "--no-pretty", "--no-error-summary", "--hide-error-context"),
    *("--check-untyped-defs", "--ignore-missing-imports", "--namespace-packages", "--explicit-package-bases"),
    *("--python-version", "3.11", "--cache-dir", os.devnull, "previous"),
)


def findings(before: Path, after: Path) -> list[Finding]:
    """The changes from the package in one folder to that in another, the gravest first."""
    old, new = _Surface(before), _Surface(after)
    found = {*_removed(old, new), *_broken(old, new), *_added(old, new), *_retyped(old, new)}
    found = {finding._replace(place=finding.place.replace(".__init__(", "(")) for finding in found}
    # A field of a model is an attribute and a parameter of the same name: once is enough.
    told = {(finding.place, finding.impact) for finding in found}
    found = {finding for finding in found if (_attribute(finding.place), finding.impact) not in told}
    return sorted(found, key=lambda finding: (-finding.impact, finding.place, finding.what))


def _attribute(place: str) -> str | None:
    """The attribute that a parameter of the same name would fill."""
    parameter = re.fullmatch(r"(.+)\((\w+)\)", place)
    return f"{parameter[1]}.{parameter[2]}" if parameter else None


class _Surface:
    """The public objects of a tree, each by the shortest name that a user can write."""

    def __init__(self, root: Path) -> None:
        self.package = griffe.load(PACKAGE, search_paths=[root], try_relative_path=False, allow_inspection=False)
        self.objects: dict[str, Any] = {}
        self.names: dict[str, str] = {}
        self.exports = {name: _real(found) for name, found in self._exports()}
        exports = sorted(self.exports.items(), key=lambda pair: (pair[0].count("."), pair[0]))
        for name, found in exports:
            if found.canonical_path not in self.names:
                self._take(name, found)
        for _, found in exports:
            for member_name, member in found.all_members.items() if found.is_class else ():
                if member.is_public and (member_name == "__init__" or not member_name.startswith("_")):
                    inner = _real(member)
                    owner = self.names.get(inner.parent.canonical_path, inner.parent.name)
                    self._take(f"{owner}.{member_name}", inner)

    def _take(self, name: str, found: Any) -> None:
        self.objects.setdefault(name, found)
        self.names.setdefault(found.canonical_path, name)

    def _exports(self) -> Iterator[tuple[str, Any]]:
        """Every name in the ``__all__`` of the package and of the packages right inside it, with what it stands for."""
        parts = [part for part in self.package.modules.values() if part.is_init_module and part.name[0] != "_"]
        for module in (self.package, *parts):
            for export in module.exports or ():
                if (name := str(export)) in module.members and not name.startswith("_"):
                    yield f"{module.path}.{name}".removeprefix(f"{PACKAGE}."), module.members[name]


def _real(found: Any) -> Any:
    return found.final_target if found.is_alias else found


def _removed(old: _Surface, new: _Surface) -> Iterator[Finding]:
    gone = [name for name in old.exports if name not in new.exports]
    gone += [name for name in old.objects if name not in new.objects and name not in old.exports]
    for name in gone:
        # With a class go its members; one line says it.
        if name.rpartition(".")[0] not in gone:
            yield Finding(Impact.MAJOR, name, "removed", SOURCE)


def _added(old: _Surface, new: _Surface) -> Iterator[Finding]:
    came = [name for name in new.objects if name not in old.objects]
    for name in came:
        if name.rpartition(".")[0] not in came:
            yield Finding(Impact.MINOR, name, "added", SOURCE)
    for name, now in _functions(old, new):
        known = {parameter.name for parameter in old.objects[name].parameters}
        for parameter in now.parameters:
            if parameter.name not in known and not parameter.required:
                yield Finding(Impact.MINOR, f"{name}({parameter.name})", "optional parameter added", SOURCE)


def _broken(old: _Surface, new: _Surface) -> Iterator[Finding]:
    """What griffe says; what is gone, and not only somewhere else, is known already."""
    for breakage in griffe.find_breaking_changes(old.package, new.package):
        name = new.names.get(str(breakage.obj.canonical_path))
        if name is None or breakage.kind is griffe.BreakageKind.OBJECT_REMOVED:
            continue
        parameter = breakage.new_value or breakage.old_value
        place = f"{name}({parameter.name})" if isinstance(parameter, griffe.Parameter) else name
        # Programs that give a value do not notice.
        mild = breakage.kind is griffe.BreakageKind.PARAMETER_CHANGED_DEFAULT
        yield Finding(Impact.MINOR if mild else Impact.MAJOR, place, breakage.kind.value, SOURCE)


def _functions(old: _Surface, new: _Surface) -> Iterator[tuple[str, Any]]:
    for name, now in new.objects.items():
        if name in old.objects and now.is_function and old.objects[name].is_function:
            yield name, now


def _retyped(old: _Surface, new: _Surface) -> Iterator[Finding]:
    for name, now in new.objects.items():
        was = old.objects.get(name)
        if was is None or was.kind is not now.kind:
            continue
        if now.is_attribute:
            alias = "TypeAlias" in str(now.annotation)
            types = (was.value, now.value) if alias else (was.annotation, now.annotation)
            yield from _compared(name, *types, may_grow=alias)
        elif now.is_function:
            yield from _compared(f"{name}()", was.returns, now.returns, may_grow=False)
            types = {parameter.name: parameter.annotation for parameter in was.parameters}
            for parameter in now.parameters:
                if parameter.name in types:
                    place = f"{name}({parameter.name})"
                    yield from _compared(place, types[parameter.name], parameter.annotation, may_grow=True)


def _compared(place: str, was: Any, now: Any, *, may_grow: bool) -> Iterator[Finding]:
    """A change of a type: harmless where what is given may become more, or what is got may become less."""
    if str(was) == str(now):
        return
    less, more = (_choices(str(was)), _choices(str(now))) if may_grow else (_choices(str(now)), _choices(str(was)))
    impact = Impact.MINOR if less <= more else Impact.MAJOR
    yield Finding(impact, place, _told(str(was), str(now)), SOURCE)


def _told(was: str, now: str) -> str:
    old, new = (re.findall(r"'[^']*'", types) if "Literal[" in types else [] for types in (was, now))
    came, went = [value for value in new if value not in old], [value for value in old if value not in new]
    if not (came or went):
        return f"type: `{was}` → `{now}`"
    told = [f"gained {', '.join(came)}"] * bool(came) + [f"lost {', '.join(went)}"] * bool(went)
    return f"known values: {' and '.join(told)}"


def _choices(annotation: str) -> set[str]:
    """The members of a union; a ``str`` among them covers every literal."""
    members, depth, start = [], 0, 0
    for position, sign in enumerate(f"{annotation}|"):
        depth += (sign in "[(") - (sign in "])")
        if sign == "|" and depth == 0:
            members.append(annotation[start:position].strip())
            start = position + 1
    found = set(members)
    return {member for member in found if not ("str" in found and member.startswith("Literal["))}


class MypyError(Exception):
    """Mypy did not check anything. The message says why."""


def previous_test_findings(before: Path, after: Path) -> tuple[list[Finding], int]:
    """What mypy finds in the tests of ``before`` with the code of ``after`` and does not with their own.

    Returns:
        The errors, and how many files were checked.

    Raises:
        MypyError: mypy stopped before it had checked them.
    """
    with tempfile.TemporaryDirectory(prefix="previous-") as name:
        folder = Path(name)
        count = _copy_tests(before / "test", folder / "previous")
        if not count:
            return [], 0
        with ThreadPoolExecutor(2) as pool:
            known, found = pool.map(lambda tree: _errors(folder, tree), (before, after))
    return [
        Finding(Impact.MAJOR, place, what, TESTS_SOURCE)
        for place, what in sorted((Counter(found) - Counter(known)).elements())
    ], count


def _copy_tests(tests: Path, folder: Path) -> int:
    """Those in test/typing, which is made for this, and every other that uses what is generated."""
    count = 0
    for file in sorted(tests.rglob("*.py")):
        inner = file.relative_to(tests)
        if inner.parts[0] == "typing" or _USES_GENERATED.search(file.read_text(encoding="utf-8")):
            target = folder / inner
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
            count += 1
    return count


def _errors(folder: Path, tree: Path) -> list[tuple[str, str]]:
    """Place and message of every error in the copied tests."""
    done = subprocess.run(
        _MYPY,
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(tree)},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    if done.returncode not in (0, 1):
        raise MypyError(f"mypy stopped with {done.returncode}:\n{done.stdout}{done.stderr}")
    lines = (line.replace("\\", "/") for line in done.stdout.splitlines())
    found = (re.fullmatch(r"previous/(.+?:\d+): error: (.+)", line) for line in lines)
    return [(f"test/{error[1]}", error[2]) for error in found if error]
