"""Import the modules of a package and compare them with what the specification contains. A part of ``self_check.py``.

It runs as a separate process, because another version of the package may be imported already. It reads JSON from
standard input and writes a list of problems to standard output.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
import traceback
from typing import Any


def problems(content: dict[str, Any]) -> list[str]:
    result = []
    for name in content["modules"]:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            # An extra that is not installed.
            if str(error.name).partition(".")[0] == "cybersource_flex":
                result.append(f"{name} cannot be imported: {error}")
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            result.append(
                f"{name} cannot be imported: {type(error).__name__}: {error} ({place.filename}:{place.lineno})"
            )
    if result:
        return result
    from cybersource_flex import aio, api, models

    result += _differences("models", dict.fromkeys(content["models"]), dict.fromkeys(models.__all__))
    for name, fields in content["models"].items():
        model = getattr(models, name)
        if fields is not None:
            generated = {field.json_name: attribute for attribute, field in model._fields.items()}
            result += _differences(f"fields of {name}", fields, generated)
    classes = content["operations"]
    result += _differences("API classes", dict.fromkeys(classes), dict.fromkeys(api.__all__))
    asynchronous = dict.fromkeys(name for name in aio.__all__ if name != "AsyncApiClient")
    result += _differences("asynchronous API classes", dict.fromkeys(f"Async{name}" for name in classes), asynchronous)
    if not result:
        for name, operations in classes.items():
            for cls in (getattr(api, name), getattr(aio, f"Async{name}")):
                result += _differences(f"operations of {cls.__name__}", operations, _operations(cls))
    return result


def _operations(cls: Any) -> dict[str, Any]:
    """The name and the parameters of the methods of a class, by the HTTP method and path of their operation."""
    module = importlib.import_module(cls.__module__)
    functions = {
        name: value for name, value in vars(cls).items() if inspect.isfunction(value) and not name.startswith("_")
    }
    result = {}
    for constant in vars(module).values():
        if type(constant).__name__ == "Operation" and constant.name in functions:
            arguments = []
            for name in (constant.name, f"{constant.name}_with_http_info"):
                parameters = inspect.signature(functions.pop(name)).parameters if name in functions else {}
                arguments.append(sorted(set(parameters) - {"self", "timeout", "retry"}))
            same = arguments[0] == arguments[1]
            result[f"{constant.method} {constant.path}"] = [constant.name, arguments[0] if same else arguments]
    return result | {f"the method {name}": None for name in functions}


def _differences(what: str, expected: dict[str, Any], generated: dict[str, Any]) -> list[str]:
    if expected == generated:
        return []
    lines = [f"{what}: {len(expected)} in the specification, {len(generated)} generated"]
    for name in sorted({*expected, *generated}):
        if name not in generated:
            lines.append(f"  {name} was not generated")
        elif name not in expected:
            lines.append(f"  {name} is not in the specification")
        elif expected[name] != generated[name]:
            lines.append(f"  {name} is {generated[name]}, not {expected[name]}")
    return ["\n".join(lines[:11])]


if __name__ == "__main__":
    content = json.load(sys.stdin)
    sys.path.insert(0, content["root"])
    json.dump(problems(content), sys.stdout)
