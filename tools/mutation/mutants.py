"""A mutant: one change of one place, named independently of line numbers; and how its run ended."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One change of one place.

    Args:
        file: the module's path in the project.
        function: the qualified name of the function or class that contains the place; ``""`` at module level.
        removed: the changed lines, without their indentation, as they are.
        added: the same lines with the mutation.
        number: 2 for the second mutant of this function with the same lines, and so on.
        start: where the change begins in the source.
        end: where it ends.
        replacement: what the source has there instead.
        line: the line of the change.
    """

    file: str
    function: str
    removed: str
    added: str
    number: int
    start: int
    end: int
    replacement: str
    line: int

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        return self.file, self.function, self.removed, self.added, self.number

    @property
    def identifier(self) -> str:
        """A short name, the same on each run."""
        return hashlib.sha256(repr(self.key).encode()).hexdigest()[:10]

    def rank(self, seed: int) -> str:
        """A pseudo-random rank. Changes of other places do not change it, so a sample stays almost the same."""
        return hashlib.sha256(repr((seed, *self.key)).encode()).hexdigest()

    def apply(self, source: str) -> str:
        """The module's source with the mutation."""
        return source[: self.start] + self.replacement + source[self.end :]


@dataclass
class Result:
    """How the run of a mutant ended.

    Args:
        outcome: ``killed``, ``survived`` or ``timeout``.
        by: the first test that failed, or the module that could not be collected.
        why: the end of that failure.
        seconds: how long the run took.
        ran: how many tests passed.
    """

    outcome: str
    by: str = ""
    why: str = ""
    seconds: float = 0.0
    ran: int = 0


def line_offsets(source: str) -> list[int]:
    offsets = [0]
    for line in source.splitlines(keepends=True):
        offsets.append(offsets[-1] + len(line))
    return offsets


def changed_lines(before: str, after: str) -> tuple[str, str]:
    old, new = before.split("\n"), after.split("\n")
    head = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    return tuple("\n".join(part.strip() for part in lines[head : len(lines) - tail]) for lines in (old, new))


def scopes_of(tree: ast.Module) -> list[tuple[int, int, str]]:
    """First line, last line and qualified name of each function and class, outer ones first."""

    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[int, int, str]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                first = min([child.lineno, *(decorator.lineno for decorator in child.decorator_list)])
                yield first, child.end_lineno or child.lineno, prefix + child.name
                yield from walk(child, f"{prefix}{child.name}.")
            else:
                yield from walk(child, prefix)

    return list(walk(tree, ""))


def innermost(scopes: Sequence[tuple[int, int, str]], line: int) -> str:
    return next((name for first, last, name in reversed(scopes) if first <= line <= last), "")


def lines_to_cover(source: str, line: int) -> tuple[set[int], set[int]]:
    """The lines of the statement at a line, and of the function that contains it.

    The first set is empty if the statement runs when the module is imported. The second one is empty at module level.
    """
    tree = ast.parse(source)
    statement: ast.stmt | None = None
    function: ast.AST | None = None
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and _first(node) <= line <= (node.end_lineno or 0):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and line >= node.body[0].lineno:
                function = node
            if statement is None or _first(node) >= _first(statement):
                statement = node
    if statement is None:
        return set(), set()
    last = statement.end_lineno or line
    body = getattr(statement, "body", None)
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) and line < statement.body[0].lineno:
        # Defaults of parameters: what matters are the calls.
        return set(), set(range(statement.body[0].lineno, last + 1))
    if body and line < _first(body[0]):
        last = _first(body[0]) - 1
    inside = set(range(function.body[0].lineno, (function.end_lineno or 0) + 1)) if function is not None else set()
    return (set(range(_first(statement), last + 1)) if function is not None else set()), inside


def _first(node: ast.stmt) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", ()))])
