"""The Python names in the generated modules, for the pages of docs/."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from generation.python_names import Names


class Method(NamedTuple):
    """A method of a generated API class.

    Attributes:
        name: its name.
        http_method: in capitals.
        path: the path in the specification.
        parameters: the Python name of each parameter, by the name in the specification.
        body: the Python name of the parameter for the body, if there is one.
        order: all Python names, in the order of the signature.
    """

    name: str
    http_method: str
    path: str
    parameters: dict[str, str]
    body: str | None
    order: list[str]


class GeneratedNames:
    """The Python names in the generated modules.

    Attributes:
        apis: the methods of each API class.
        fields: the fields of each model by their name in JSON, as (Python name, flags). Empty for enums and unions.
    """

    def __init__(self, modules: Mapping[str, bytes], names: Names) -> None:
        self.classes = names.classes
        self.apis: dict[str, list[Method]] = {}
        self.fields: dict[str, dict[str, tuple[str, set[str]]]] = {}
        for path, source in sorted(modules.items()):
            if path.startswith("cybersource_flex/api/") and path.endswith("_api.py"):
                self._read_api(ast.parse(source))
            elif path.startswith("cybersource_flex/models/") and not path.endswith("__init__.py"):
                self._read_model(ast.parse(source))

    def class_of(self, title: str) -> str | None:
        """The class of a named schema; None for a schema that does not become a class."""
        return self.classes.get(title)

    def _read_api(self, module: ast.Module) -> None:
        operations = {}
        for constant, value in _assignments(module):
            if isinstance(value, ast.Call):
                operations[constant] = {argument.arg: argument.value for argument in value.keywords}
        (api,) = (node for node in module.body if isinstance(node, ast.ClassDef))
        self.apis[api.name] = [
            _method(function, operations)
            for function in api.body
            if isinstance(function, ast.FunctionDef) and function.name.endswith("_with_http_info")
        ]

    def _read_model(self, module: ast.Module) -> None:
        ((name,),) = (ast.literal_eval(value) for target, value in _assignments(module) if target == "__all__")
        self.fields[name] = {}
        for node in module.body:
            if isinstance(node, ast.ClassDef):
                (table,) = (value for target, value in _assignments(node) if target == "_fields")
                assert isinstance(table, ast.Dict)
                for key, field in zip(table.keys, table.values, strict=True):
                    assert key is not None
                    assert isinstance(field, ast.Call)
                    flags = {str(argument.arg) for argument in field.keywords}
                    self.fields[name][ast.literal_eval(field.args[0])] = ast.literal_eval(key), flags


def _assignments(node: ast.Module | ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    for statement in node.body:
        if isinstance(statement, ast.Assign):
            yield ast.unparse(statement.targets[0]), statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            yield ast.unparse(statement.target), statement.value


def _method(function: ast.FunctionDef, operations: Mapping[str, Mapping[str | None, ast.expr]]) -> Method:
    """A method from its source: its last statement is ``return self._client.call(OPERATION, path=..., ...)``."""
    statement = function.body[-1]
    assert isinstance(statement, ast.Return)
    assert isinstance(statement.value, ast.Call)
    operation = operations[ast.unparse(statement.value.args[0])]
    parameters: dict[str, str] = {}
    body = None
    for argument in statement.value.keywords:
        if isinstance(argument.value, ast.Dict):
            pairs = list(zip(argument.value.keys, argument.value.values, strict=True))
            parameters |= {ast.literal_eval(key): ast.unparse(value) for key, value in pairs if key is not None}
        elif isinstance(argument.value, ast.Tuple):
            pairs = [each.elts for each in argument.value.elts if isinstance(each, ast.Tuple)]  # type: ignore[misc]
            parameters |= {ast.literal_eval(key): ast.unparse(value) for key, value in pairs if key is not None}
        elif argument.arg == "body":
            body = ast.unparse(argument.value)
    arguments = [*function.args.args[1:], *function.args.kwonlyargs]
    name, http_method, path = (ast.literal_eval(operation[key]) for key in ("name", "method", "path"))
    order = [argument.arg for argument in arguments if argument.arg in (*parameters.values(), body)]
    return Method(name, http_method, path, parameters, body, order)
