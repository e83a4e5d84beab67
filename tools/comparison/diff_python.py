"""Changes of the public Python API between two source trees: names, parameters, types, and the earlier tests.

The public API is what the packages' ``__all__`` list, with the public members of those classes. Griffe reads both trees
without importing them and reports breaking changes. Additions, and types, which griffe does not compare, are compared
here. As a second check, mypy runs on the tests of the earlier tree with the current code.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

import griffe

from comparison.semver_impact import Finding, Impact

SOURCE: Final = "Python"
TESTS_SOURCE: Final = "previous tests"
PACKAGE: Final = "cybersource_flex"

_USES_GENERATED: Final = re.compile(r"cybersource_flex\.(models|api|api_client)\b|\b((Async)?ApiClient|\w+Api)\b")
# The same options for both trees, so that only differences remain.
_MYPY: Final = (
    *(sys.executable, "-m", "mypy", "--config-file=", "--no-pretty", "--no-error-summary", "--hide-error-context"),
    *("--check-untyped-defs", "--ignore-missing-imports", "--namespace-packages", "--explicit-package-bases"),
    *("--python-version", "3.11", "--cache-dir", os.devnull, "previous"),
)


class Usage(NamedTuple):
    """The models that programs use in one way only.

    Attributes:
        written: those that only requests contain. Programs create them and do not read their fields.
        read: those that only responses contain. Programs read their fields and do not create them.
    """

    written: frozenset[str] = frozenset()
    read: frozenset[str] = frozenset()


def findings(before: Path, after: Path, usage: Usage = Usage()) -> list[Finding]:  # noqa: B008
    """The changes between the packages in two folders, the highest impact first."""
    old, new = _Surface(before), _Surface(after)
    changes = {*_removed(old, new), *_broken(old, new), *_added(old, new), *_retyped(old, new, usage.written)}
    changes = {finding._replace(place=finding.place.replace(".__init__(", "(")) for finding in changes}
    changes = {
        finding._replace(impact=min(finding.impact, Impact.MINOR))
        if _is_constructor_parameter(finding.place, usage.read)
        else finding
        for finding in changes
    }
    # A field of a model is both an attribute and a parameter of the same name. It is reported once.
    places = {(finding.place, finding.impact) for finding in changes}
    changes = {finding for finding in changes if (_attribute(finding.place), finding.impact) not in places}
    return sorted(changes, key=lambda finding: (-finding.impact, finding.place, finding.what))


def _is_constructor_parameter(place: str, models: Collection[str]) -> bool:
    """Whether a place is a parameter of the constructor of one of some models."""
    parameter = re.fullmatch(r"(?:models\.)?(\w+)\(\w+\)", place)
    return parameter is not None and parameter[1] in models


def _attribute(place: str) -> str | None:
    """The attribute that a parameter of the same name would fill."""
    parameter = re.fullmatch(r"(.+)\((\w+)\)", place)
    return f"{parameter[1]}.{parameter[2]}" if parameter else None


class _Surface:
    """The public objects of a source tree, by the shortest name that a user can import."""

    def __init__(self, root: Path) -> None:
        self.package = griffe.load(PACKAGE, search_paths=[root], try_relative_path=False, allow_inspection=False)
        self.objects: dict[str, Any] = {}
        # Every member that a public class has, its own or inherited.
        self.members: dict[str, Any] = {}
        self.names: dict[str, str] = {}
        self.exports = {name: _resolve(target) for name, target in self._exports()}
        exports = sorted(self.exports.items(), key=lambda pair: (pair[0].count("."), pair[0]))
        for name, target in exports:
            if target.canonical_path not in self.names:
                self._take(name, target)
        for _, target in exports:
            for member_name, member in target.all_members.items() if target.is_class else ():
                if member_name == "__init__" or not member_name.startswith("_"):
                    inner = _resolve(member)
                    name = self.names[target.canonical_path]
                    self.members[f"{name}.{member_name}"] = inner
                    # What a class inherits from one that is not public belongs to itself.
                    owner = self.names.get(inner.parent.canonical_path, name)
                    self._take(f"{owner}.{member_name}", inner)

    def find(self, name: str) -> Any:
        """A public object by its name, or None."""
        return self.objects.get(name) or self.members.get(name)

    def _take(self, name: str, target: Any) -> None:
        self.objects.setdefault(name, target)
        self.names.setdefault(target.canonical_path, name)

    def _exports(self) -> Iterator[tuple[str, Any]]:
        """Every name in the ``__all__`` of the package and of the packages right inside it, with what it stands for."""
        parts = [part for part in self.package.modules.values() if part.is_init_module and part.name[0] != "_"]
        for module in (self.package, *parts):
            for export in module.exports or ():
                if (name := str(export)) in module.members and not name.startswith("_"):
                    yield f"{module.path}.{name}".removeprefix(f"{PACKAGE}."), module.members[name]


def _resolve(target: Any) -> Any:
    return target.final_target if target.is_alias else target


def _removed(old: _Surface, new: _Surface) -> Iterator[Finding]:
    removed = [name for name in old.exports if name not in new.exports]
    removed += [name for name in old.objects if new.find(name) is None and name not in old.exports]
    for name in removed:
        # The members of a removed class are not reported separately.
        if name.rpartition(".")[0] not in removed:
            yield Finding(Impact.MAJOR, name, "removed", SOURCE)


def _added(old: _Surface, new: _Surface) -> Iterator[Finding]:
    added = [name for name in new.objects if old.find(name) is None and not _is_moved(old, new, name)]
    for name in added:
        if name.rpartition(".")[0] not in added:
            yield Finding(Impact.MINOR, name, "added", SOURCE)
    for name, now in _functions(old, new):
        names = {parameter.name for parameter in old.objects[name].parameters}
        for parameter in now.parameters:
            if parameter.name not in names and not parameter.required:
                yield Finding(Impact.MINOR, f"{name}({parameter.name})", "optional parameter added", SOURCE)


def _is_moved(old: _Surface, new: _Surface, name: str) -> bool:
    """Whether a member of a new class was a member of those that now inherit it."""
    return name not in new.exports and any(
        inherited is new.objects[name] and inherited_name in old.members
        for inherited_name, inherited in new.members.items()
    )


def _broken(old: _Surface, new: _Surface) -> Iterator[Finding]:
    """Breaking changes according to griffe, except removals, which `_removed` reports."""
    public = {target.name for target in old.exports.values()}
    for breakage in griffe.find_breaking_changes(old.package, new.package):
        name = new.names.get(str(breakage.obj.canonical_path))
        if name is None or breakage.kind is griffe.BreakageKind.OBJECT_REMOVED:
            continue
        if breakage.kind is griffe.BreakageKind.CLASS_REMOVED_BASE and not public & _base_names(breakage):
            continue
        parameter = breakage.new_value or breakage.old_value
        place = f"{name}({parameter.name})" if isinstance(parameter, griffe.Parameter) else name
        # Programs that pass a value are not affected.
        minor = breakage.kind is griffe.BreakageKind.PARAMETER_CHANGED_DEFAULT
        yield Finding(Impact.MINOR if minor else Impact.MAJOR, place, breakage.kind.value, SOURCE)


def _base_names(breakage: griffe.Breakage) -> set[str]:
    """The names of the base classes that a class has lost."""
    values = (breakage.old_value, breakage.new_value)
    before, after = ({str(base).rpartition(".")[2] for base in bases or ()} for bases in values)
    return before - after


def _functions(old: _Surface, new: _Surface) -> Iterator[tuple[str, Any]]:
    for name, was in old.objects.items():
        now = new.find(name)
        if now is not None and now.is_function and was.is_function:
            yield name, now


def _retyped(old: _Surface, new: _Surface, written: Collection[str]) -> Iterator[Finding]:
    for name, was in old.objects.items():
        now = new.find(name)
        if now is None or was.kind is not now.kind:
            continue
        if now.is_attribute:
            alias = "TypeAlias" in str(now.annotation)
            types = (was.value, now.value) if alias else (was.annotation, now.annotation)
            # Enums are open: a program must expect any value. A field that only requests contain is not read.
            is_written = name.removeprefix("models.").partition(".")[0] in written
            yield from _compared(name, *types, may_grow=is_written or (alias and "Literal[" in str(now.value)))
        elif now.is_function:
            yield from _compared(f"{name}()", was.returns, now.returns, may_grow=False)
            types = {parameter.name: parameter.annotation for parameter in was.parameters}
            for parameter in now.parameters:
                if parameter.name in types:
                    place = f"{name}({parameter.name})"
                    yield from _compared(place, types[parameter.name], parameter.annotation, may_grow=True)


def _compared(place: str, was: Any, now: Any, *, may_grow: bool) -> Iterator[Finding]:
    """A change of a type. Accepting more types, or returning fewer, is compatible."""
    was, now = (re.sub(r"^ApiResponse\[(.+)\]$", r"\1", str(each)) for each in (was, now))
    if was == now or _without_order(was) == _without_order(now):
        return
    less, more = (_choices(was), _choices(now)) if may_grow else (_choices(now), _choices(was))
    impact = Impact.MINOR if less <= more else Impact.MAJOR
    yield Finding(impact, place, _type_change(was, now), SOURCE)


def _without_order(annotation: str) -> str:
    """A type whose unions, at any depth, are sorted."""
    try:
        node = ast.parse(annotation, mode="eval").body
    except SyntaxError:
        return annotation
    return _sorted(node)


def _sorted(node: ast.expr) -> str:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return " | ".join(sorted(member for side in (node.left, node.right) for member in _sorted(side).split(" | ")))
    if isinstance(node, ast.Subscript):
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return f"{ast.unparse(node.value)}[{', '.join(map(_sorted, parts))}]"
    return ast.unparse(node)


def _type_change(was: str, now: str) -> str:
    old, new = (re.findall(r"'[^']*'", types) if "Literal[" in types else [] for types in (was, now))
    added, removed = [value for value in new if value not in old], [value for value in old if value not in new]
    if not (added or removed):
        return f"type: `{was}` → `{now}`"
    parts = [f"gained {', '.join(added)}"] * bool(added) + [f"lost {', '.join(removed)}"] * bool(removed)
    return f"known values: {' and '.join(parts)}"


def _choices(annotation: str) -> set[str]:
    """The members of a union. If ``str`` is one of them, literals are left out."""
    members, depth, start = [], 0, 0
    for position, sign in enumerate(f"{annotation}|"):
        depth += (sign in "[(") - (sign in "])")
        if sign == "|" and depth == 0:
            members.append(annotation[start:position].strip())
            start = position + 1
    types = set(members)
    return {member for member in types if not ("str" in types and member.startswith("Literal["))}


class MypyError(Exception):
    """Mypy did not complete. The message says why."""


def previous_test_findings(before: Path, after: Path) -> tuple[list[Finding], int]:
    """The errors that mypy reports in the tests of ``before`` with the code of ``after``, but not with its own.

    Returns:
        The errors, and the number of files that were checked.

    Raises:
        MypyError: mypy failed.
    """
    with tempfile.TemporaryDirectory(prefix="previous-") as name:
        folder = Path(name)
        count = _copy_tests(before / "test", folder / "previous")
        if not count:
            return [], 0
        with ThreadPoolExecutor(2) as pool:
            earlier, current = pool.map(lambda tree: _errors(folder, tree), (before, after))
    return [Finding(Impact.MAJOR, place, what, TESTS_SOURCE) for place, what in new_errors(earlier, current)], count


def new_errors(earlier: list[tuple[str, str, str]], current: list[tuple[str, str, str]]) -> list[tuple[str, str]]:
    """The place and the message of each error that is new. The same code in the same place is the same error.

    Its message may quote a type that has changed, such as the one that a deliberately wrong argument should have had.
    """
    reported = Counter((place, code) for place, code, _ in earlier)
    result = []
    for place, code, what in sorted(current, key=lambda error: (error[0], error[2])):
        if reported[place, code]:
            reported[place, code] -= 1
        else:
            result.append((place, what))
    return result


def _copy_tests(tests: Path, folder: Path) -> int:
    """Copy test/typing, and all other tests that use generated code."""
    count = 0
    for file in sorted(tests.rglob("*.py")):
        inner = file.relative_to(tests)
        if inner.parts[0] == "typing" or _USES_GENERATED.search(file.read_text(encoding="utf-8")):
            target = folder / inner
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
            count += 1
    return count


def _errors(folder: Path, tree: Path) -> list[tuple[str, str, str]]:
    """Place, code and message of every error in the copied tests."""
    process = subprocess.run(
        _MYPY,
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(tree)},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    if process.returncode not in (0, 1):
        raise MypyError(f"mypy stopped with {process.returncode}:\n{process.stdout}{process.stderr}")
    lines = (line.replace("\\", "/") for line in process.stdout.splitlines())
    matches = (re.fullmatch(r"previous/(.+?:\d+): error: (.+?) +\[([a-z-]+)\]", line) for line in lines)
    return [(f"test/{error[1]}", error[3], f"{error[2]} [{error[3]}]") for error in matches if error]
