"""Which parts of OpenAPI 3.0.3 the templates know, as a walk over the document.

What is not named here is refused, with its place in the document and the feature's name: the generator would take most
of it and write something that looks right and is not. A feature moves in here together with its templates and tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import schemas
import yaml
from schemas import Document, Problem, resolve, walk, without_clash

METHODS: Final = ("delete", "get", "patch", "post", "put")

_PATH: Final = re.compile(r"(/([A-Za-z0-9_.~-]|\{[A-Za-z0-9_.-]+\})+)+")
_MEDIA_TYPE: Final = re.compile(r"[a-z]+/[a-z0-9.+-]+(;\s?[a-z]+=[A-Za-z0-9-]+)*")
_TEXT: Final = re.compile(r"application/(jwt|jose)|text/plain")
_STATUS: Final = re.compile(r"[1-5]\d\d|[1-5]XX|default")

# RFC-given meaning, or made by the transport and the signers: a parameter of one of these names would not arrive.
_OWN_HEADERS: Final = {
    "accept",
    "authorization",
    "content-length",
    "content-type",
    "date",
    "digest",
    "host",
    "signature",
}


def problems(text: str) -> list[Problem]:
    """Everything in an OpenAPI document that stops the generation, as ``place: what``; empty where nothing does."""
    try:
        document = load(text)
        if not isinstance(document, dict):
            return ["not an OpenAPI document"]
        return list(dict.fromkeys(_document(document)))
    except yaml.YAMLError as error:
        return [f"not readable as YAML: {error}"]
    except (AttributeError, KeyError, TypeError) as error:
        return [f"not an OpenAPI document: {error}"]


def load(text: str) -> Any:
    """The document."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506


class _Loader(yaml.SafeLoader):
    """YAML with a mistake made an error that is otherwise silent: the same key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for number, key in enumerate(keys):
            if key in keys[:number]:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _document(document: Document) -> Iterator[Problem]:
    yield from walk(document, "#", {"openapi", "info", "servers", "tags", "paths", "components", "security"})
    if not str(document.get("openapi", "")).startswith("3.0."):
        yield f"#/openapi: {document.get('openapi')} is not supported; the templates know 3.0"
    yield from _servers(document.get("servers") or [])
    for number, tag in enumerate(document.get("tags", [])):
        yield from walk(tag, f"#/tags/{number}", {"name", "description"}, {"name", "description"})
    components = document.get("components", {})
    kinds = {"headers", "parameters", "requestBodies", "responses", "schemas", "securitySchemes"}
    yield from walk(components, "#/components", kinds)
    yield from schemas.components(document)
    for name, scheme in components.get("securitySchemes", {}).items():
        kind = (scheme.get("type"), scheme.get("scheme") or scheme.get("in"))
        if kind not in (("http", "bearer"), ("apiKey", "header")):
            yield f"#/components/securitySchemes/{name}: a scheme of {kind} is not supported"
    names: dict[str, str] = {}
    for path, item in document.get("paths", {}).items():
        place = f"#/paths/{path.replace('~', '~0').replace('/', '~1')}"
        if not _PATH.fullmatch(path):
            yield f"{place}: a path of this form is not supported"
        yield from walk(item, place, {*METHODS, "parameters"})
        for method in METHODS:
            if method in item:
                yield from _Operation(document, path, item, item[method], f"{place}/{method}").problems(names)


def _servers(servers: list[Any]) -> Iterator[Problem]:
    if not servers:
        yield "#/servers: needs at least one server; the first is the default host"
    seen: list[Any] = []
    for number, server in enumerate(servers):
        place = f"#/servers/{number}"
        needed = {"url", "description", "x-environment"}
        yield from walk(server, place, needed, needed)
        if not re.fullmatch(r"https://[a-z0-9.-]+", str(server.get("url"))):
            yield f"{place}/url: a server URL with a path, a variable or another scheme than https is not supported"
        name = server.get("x-environment")
        if name in seen or not re.fullmatch(r"[a-z][a-z0-9-]*", str(name)):
            yield f"{place}/x-environment: must be a name in lower case that no other server has"
        seen.append(name)


class _Operation:
    def __init__(self, document: Document, path: str, item: Any, operation: Any, place: str) -> None:
        self.document, self.path, self.item, self.operation, self.place = document, path, item, operation, place

    def problems(self, names: dict[str, str]) -> Iterator[Problem]:
        known = {"operationId", "tags", "summary", "description", "deprecated", "security", "x-repeatable"}
        yield from walk(
            self.operation,
            self.place,
            known | {"parameters", "requestBody", "responses"},
            {"operationId", "tags", "summary", "responses"},
        )
        name = str(self.operation.get("operationId"))
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", name):
            yield f"{self.place}/operationId: letters and digits alone are supported"
        yield from without_clash(name, f"{self.place}/operationId", names)
        declared = [tag.get("name") for tag in self.document.get("tags", [])]
        tags = self.operation.get("tags") or []
        if len(tags) != 1 or tags[0] not in declared:
            yield f"{self.place}/tags: exactly one tag, and one that #/tags describes, is supported"
        if not isinstance(self.operation.get("x-repeatable", False), bool):
            yield f"{self.place}/x-repeatable: must be true or false"
        yield from self._security()
        yield from self._parameters()
        yield from self._body()
        yield from self._responses()

    def _security(self) -> Iterator[Problem]:
        demand = self.operation.get("security", self.document.get("security"))
        if not isinstance(demand, list):
            yield f"{self.place}: has no `security`; write `security: []` where no signature is needed"
            return
        schemes = self.document.get("components", {}).get("securitySchemes", {})
        for number, choice in enumerate(demand):
            if len(choice) != 1 or next(iter(choice)) not in schemes:
                yield f"{self.place}/security/{number}: exactly one declared scheme in each choice is supported"

    def _parameters(self) -> Iterator[Problem]:
        found: dict[str, str] = {}
        in_path = []
        for place, parameter in self._all_parameters():
            known = {"name", "in", "description", "required", "deprecated", "schema", "example", "style", "explode"}
            yield from walk(parameter, place, known, {"name", "in", "schema"})
            where, name = parameter.get("in"), str(parameter.get("name"))
            style = {"path": "simple", "header": "simple", "query": "form"}.get(where)
            if style is None:
                yield f"{place}: a {where} parameter is not supported"
                continue
            if parameter.get("style", style) != style or parameter.get("explode", where == "query") != (
                where == "query"
            ):
                yield f"{place}: a {where} parameter of another style than the default is not supported"
            if where == "path":
                in_path.append(name)
            if where == "header" and name.lower() in _OWN_HEADERS:
                yield f"{place}: a header parameter of the name {name} is not supported"
            yield from schemas.name(name, place)
            yield from without_clash(name, place, found)
            schema = parameter.get("schema", {})
            yield from schemas.schema(self.document, schema, f"{place}/schema")
            kind = resolve(self.document, schema)
            if where != "path" and kind.get("type") == "array":
                kind = resolve(self.document, kind.get("items", {}))
            if kind.get("type", "object") in ("object", "array") or schema.get("nullable"):
                yield f"{place}/schema: a {where} parameter of this type is not supported"
        wanted = re.findall(r"\{([^}]+)\}", self.path)
        if sorted(in_path) != sorted(wanted):
            yield f"{self.place}/parameters: the path has {wanted} in it, the parameters are {in_path}"

    def _all_parameters(self) -> Iterator[tuple[str, Any]]:
        for owner, place in ((self.item, self.place.rpartition("/")[0]), (self.operation, self.place)):
            for number, parameter in enumerate(owner.get("parameters", [])):
                yield f"{place}/parameters/{number}", resolve(self.document, parameter)

    def _body(self) -> Iterator[Problem]:
        if "requestBody" not in self.operation:
            return
        place = f"{self.place}/requestBody"
        body = resolve(self.document, self.operation["requestBody"])
        yield from walk(body, place, {"description", "required", "content"}, {"content"})
        if len(body.get("content", {})) != 1:
            yield f"{place}/content: several media types in a request are not supported"
        yield from self._content(body.get("content", {}), place)

    def _responses(self) -> Iterator[Problem]:
        successes: list[Any] = []
        failures: list[str] = []
        for status, response in self.operation.get("responses", {}).items():
            place = f"{self.place}/responses/{status}"
            response = resolve(self.document, response)
            yield from walk(response, place, {"description", "headers", "content"}, {"description"})
            for name, header in response.get("headers", {}).items():
                header = resolve(self.document, header)
                yield from walk(header, f"{place}/headers/{name}", {"description", "required", "schema", "example"})
            if not isinstance(status, str) or not _STATUS.fullmatch(status):
                yield f"{place}: a status must be a text such as '201', '4XX' or default"
                continue
            content = response.get("content", {})
            yield from self._content(content, place)
            found = [media.get("schema") for media in content.values() if isinstance(media, dict)] or [None]
            if status.startswith("2"):
                successes += found
            elif found != [None]:
                failures.append(status)
                if len(found) > 1:
                    yield f"{place}/content: several media types in an error are not supported"
        if not successes:
            yield f"{self.place}/responses: no success (2xx) is described"
        if any(schema != successes[0] for schema in successes):
            yield f"{self.place}/responses: successes with different schemas are not supported"
        if "default" not in failures and not {"4XX", "5XX"} <= set(failures):
            yield f"{self.place}/responses: the errors need a schema: `default`, or `4XX` and `5XX`"

    def _content(self, content: Any, place: str) -> Iterator[Problem]:
        for media_type, media in content.items():
            here = f"{place}/content/{media_type.replace('~', '~0').replace('/', '~1')}"
            yield from walk(media, here, {"schema", "example", "examples"}, {"schema"})
            essence = media_type.partition(";")[0]
            is_json = essence == "application/json" or essence.endswith("+json")
            if not _MEDIA_TYPE.fullmatch(media_type) or not (is_json or _TEXT.fullmatch(essence)):
                yield f"{here}: the media type {media_type} is not supported"
                continue
            schema = media.get("schema", {})
            yield from schemas.schema(self.document, schema, f"{here}/schema")
            if not is_json and resolve(self.document, schema).get("type") != "string":
                yield f"{here}/schema: a body that is not JSON must be a string"
            if schema.get("nullable"):
                yield f"{here}/schema/nullable: a body that may be null is not supported"
            for name, example in media.get("examples", {}).items():
                yield from walk(example, f"{here}/examples/{name}", {"summary", "description", "value"}, {"value"})
