"""Create the mutants of a module with mutmut's operators."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import libcst as cst
from libcst.metadata import MetadataWrapper, WhitespaceInclusivePositionProvider
from mutmut.mutation.file_mutation import MutationVisitor
from mutmut.mutation.mutators import mutation_operators, operator_string
from mutmut.mutation.pragma_handling import IgnoredCode

from mutation.mutants import Mutant, changed_lines, innermost, line_offsets, scopes_of

# Calls that only type checkers read, and names of modules that are not part of the behaviour.
_TYPING_CALLS = frozenset({"cast", "TypeVar", "ParamSpec", "NewType", "overload"})
_NOT_BEHAVIOUR = frozenset({"__all__", "__slots__"})


def _string(node: cst.BaseString) -> Iterable[cst.BaseString]:
    """Mutate strings that a program reads, once each. Strings with a space are wording, for people."""
    if isinstance(node, cst.SimpleString) and " " not in node.value:
        yield from list(operator_string(node))[:1]


_OPERATORS = [(kind, _string if operator is operator_string else operator) for kind, operator in mutation_operators]


class _Visitor(MutationVisitor):
    """Also visits decorated functions, such as properties, which mutmut's own runner cannot mutate."""

    METADATA_DEPENDENCIES = (*MutationVisitor.METADATA_DEPENDENCIES, WhitespaceInclusivePositionProvider)

    def _skip_node_and_children(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.FunctionDef):
            return any(
                isinstance(decorator.decorator, cst.Name) and decorator.decorator.value == "overload"
                for decorator in node.decorators
            )
        if isinstance(node, cst.If) and isinstance(node.test, cst.Name) and node.test.value == "TYPE_CHECKING":
            return True
        value = node.value if isinstance(node, cst.Assign) else node
        if isinstance(value, cst.Call) and isinstance(value.func, cst.Name) and value.func.value in _TYPING_CALLS:
            return True
        if isinstance(node, cst.Assign) and _names(node.targets[0].target) & _NOT_BEHAVIOUR:
            return True
        if isinstance(node, cst.AnnAssign) and (
            _names(node.target) & _NOT_BEHAVIOUR or "TypeAlias" in _names(node.annotation.annotation)
        ):
            return True
        return super()._skip_node_and_children(node)

    def _create_mutations(self, node: cst.CSTNode) -> None:
        before = len(self.mutations)
        super()._create_mutations(node)
        if len(self.mutations) > before:
            self.places[id(node)] = self.get_metadata(WhitespaceInclusivePositionProvider, node, None)

    def __init__(self) -> None:
        super().__init__(_OPERATORS, IgnoredCode(set(), set(), set()))
        self.places: dict[int, object] = {}


def _names(node: cst.BaseExpression) -> set[str]:
    if isinstance(node, cst.Name):
        return {node.value}
    return {node.attr.value} if isinstance(node, cst.Attribute) else set()


def create(root: Path, file: str) -> list[Mutant]:
    """All mutants of a module, in the order of their places."""
    source = (root / file).read_text("utf-8")
    wrapper = MetadataWrapper(cst.parse_module(source), unsafe_skip_copy=True)
    visitor = _Visitor()
    wrapper.visit(visitor)
    offsets = line_offsets(source)
    scopes = scopes_of(ast.parse(source))
    seen: Counter[tuple[str, ...]] = Counter()
    mutants = []
    for mutation in visitor.mutations:
        place = visitor.places[id(mutation.original_node)]
        if place is None:
            continue
        start = offsets[place.start.line - 1] + place.start.column
        end = offsets[place.end.line - 1] + place.end.column
        if source[start:end] != wrapper.module.code_for_node(mutation.original_node):
            continue
        replacement = wrapper.module.code_for_node(mutation.mutated_node)
        # The line of the first character that is not whitespace.
        first = start + len(source[start:end]) - len(source[start:end].lstrip())
        line = source.count("\n", 0, first) + 1
        function = innermost(scopes, line)
        removed, added = changed_lines(source, source[:start] + replacement + source[end:])
        identity = (file, function, removed, added)
        seen[identity] += 1
        mutants.append(Mutant(*identity, seen[identity], start, end, replacement, line))
    return mutants
