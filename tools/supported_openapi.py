"""Check that a specification uses only what the templates support of OpenAPI 3.0.3.

Everything else is reported with its JSON pointer and the feature's name: the generator would accept most of it and
write code that looks right and is wrong. To support a feature, add it here, in the templates and in the tests. The
outline is checked first (objects, lists and strings are where they must be), so that the other checks can rely on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import supported_schemas as schemas
import yaml
from supported_schemas import Document, Problem, check_members, check_unique, resolve

METHODS: Final = ("delete", "get", "patch", "post", "put")

_PATH: Final = re.compile(r"(/([A-Za-z0-9_.~-]|\{[A-Za-z0-9_.-]+\})+)+")
_MEDIA_TYPE: Final = re.compile(r"[a-z]+/[a-z0-9.+-]+(;\s?[a-z]+=[A-Za-z0-9-]+)*")
_TEXT: Final = re.compile(r"application/(jwt|jose)|text/plain")
_STATUS: Final = re.compile(r"[1-5]\d\d|[1-5]XX|default")

# Extensions of this project for an operation, each true or false.
_SWITCHES: Final = ("x-encrypted-body", "x-repeatable")
# The default comes first.
_STYLES: Final = {
    "path": ("simple",),
    "header": ("simple",),
    "query": ("form", "spaceDelimited", "pipeDelimited"),
}

# Headers that the transport and the signers set: a parameter with such a name would not reach the service.
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

_ANY, _STRING, _OBJECT, _SCHEMA_OR_BOOLEAN = "any", "string", "object", "schema or boolean"

# The members of each kind of object. A list means a list, and a set means an object whose member names are free.
_SERVERS: Final[dict[str, Any]] = {"servers": [_OBJECT]}
_KINDS: Final[dict[str, dict[str, Any]]] = {
    _OBJECT: {},
    "document": {
        **_SERVERS,
        "tags": [_OBJECT],
        "security": [_OBJECT],
        "components": "components",
        "paths": {"path"},
    },
    "components": {
        "headers": {"header"},
        "parameters": {"parameter"},
        "requestBodies": {"body"},
        "responses": {"response"},
        "schemas": {"schema"},
        "securitySchemes": {_OBJECT},
    },
    "path": {
        **dict.fromkeys(("delete", "get", "patch", "post", "put"), "operation"),
        **_SERVERS,
        "parameters": ["parameter"],
    },
    "operation": {
        **_SERVERS,
        "parameters": ["parameter"],
        "requestBody": "body",
        "responses": {"response"},
        "security": [_OBJECT],
        "tags": [_STRING],
    },
    "parameter": {"$ref": _STRING, "in": _STRING, "name": _STRING, "schema": "schema", "style": _STRING},
    "header": {"$ref": _STRING, "schema": "schema"},
    "body": {"$ref": _STRING, "content": {"media"}},
    "response": {"$ref": _STRING, "content": {"media"}, "headers": {"header"}},
    "media": {"examples": {_OBJECT}, "schema": "schema"},
    "schema": {
        "$ref": _STRING,
        "additionalProperties": _SCHEMA_OR_BOOLEAN,
        "allOf": ["schema"],
        "discriminator": "discriminator",
        "enum": [_ANY],
        "format": _STRING,
        "items": "schema",
        "oneOf": ["schema"],
        "properties": {"schema"},
        "required": [_STRING],
    },
    "discriminator": {"mapping": {_STRING}, "propertyName": _STRING},
}
# Members whose names are checked elsewhere: YAML may read a status as a number and a property as true.
_ANY_NAME: Final = ("responses", "properties")
_KINDS[_SCHEMA_OR_BOOLEAN] = _KINDS["schema"]


def problems(source: str) -> list[Problem]:
    """Everything in an OpenAPI document that stops the generation, as ``place: what``. Empty if nothing does."""
    try:
        document = load(source)
    except (yaml.YAMLError, ValueError) as error:
        # ValueError: a date such as 2026-13-45, which YAML reads as one.
        return [f"not readable as YAML: {error}"]
    if not isinstance(document, dict):
        return ["not an OpenAPI document"]
    return list(outline_problems(document)) or list(dict.fromkeys(_document(document)))


def load(source: str) -> Any:
    """Parse an OpenAPI document."""
    return yaml.load(source, Loader=_Loader)  # noqa: S506


class _Loader(yaml.SafeLoader):
    """A YAML loader that rejects duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for number, key in enumerate(keys):
            if key in keys[:number]:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} twice", node.start_mark)
        return super().construct_mapping(node, deep)


def outline_problems(document: Any) -> Iterator[Problem]:
    """Report places that are not the object, list or string that OpenAPI requires."""
    yield from _check_outline(document, "document", "#", "")


def _check_outline(node: Any, kind: Any, place: str, member: str) -> Iterator[Problem]:
    if isinstance(kind, list):
        if not isinstance(node, list):
            yield f"{place}: must be a list"
            return
        for number, entry in enumerate(node):
            yield from _check_outline(entry, kind[0], f"{place}/{number}", "")
    elif kind == _STRING:
        if not isinstance(node, str):
            yield f"{place}: must be a string; quote what YAML reads as something else"
    elif kind != _ANY and not (kind == _SCHEMA_OR_BOOLEAN and isinstance(node, bool)):
        if not isinstance(node, dict):
            yield f"{place}: must be an object"
            return
        for name, entry in node.items():
            here = f"{place}/{str(name).replace('~', '~0').replace('/', '~1')}"
            if not isinstance(name, str) and not (isinstance(kind, set) and member in _ANY_NAME):
                yield f"{here}: the name must be a string; quote what YAML reads as something else"
            (inner,) = kind if isinstance(kind, set) else (_KINDS[kind].get(name, _ANY),)
            yield from _check_outline(entry, inner, here, str(name))


def _document(document: Document) -> Iterator[Problem]:
    yield from check_members(document, "#", {"openapi", "info", "servers", "tags", "paths", "components", "security"})
    if not str(document.get("openapi", "")).startswith("3.0."):
        yield f"#/openapi: {document.get('openapi')} is not supported; the templates know 3.0"
    if not document.get("servers"):
        yield "#/servers: needs at least one server; the first is the default host"
    environments = [server.get("x-environment") for server in document.get("servers") or []]
    yield from _servers(document.get("servers") or [], "#", environments)
    for number, tag in enumerate(document.get("tags", [])):
        yield from check_members(tag, f"#/tags/{number}", {"name", "description"}, {"name", "description"})
    parts = document.get("components", {})
    kinds = {"headers", "parameters", "requestBodies", "responses", "schemas", "securitySchemes"}
    yield from check_members(parts, "#/components", kinds)
    yield from schemas.check_named_schemas(document)
    for name, scheme in parts.get("securitySchemes", {}).items():
        kind = (scheme.get("type"), scheme.get("scheme") or scheme.get("in"))
        if kind not in (("http", "bearer"), ("apiKey", "header")):
            yield f"#/components/securitySchemes/{name}: a scheme of {kind} is not supported"
    names: dict[str, str] = {}
    for path, item in document.get("paths", {}).items():
        place = f"#/paths/{path.replace('~', '~0').replace('/', '~1')}"
        if not _PATH.fullmatch(path):
            yield f"{place}: a path of this form is not supported"
        yield from check_members(item, place, {*METHODS, "parameters", "servers"})
        yield from _servers(item.get("servers") or [], place, environments)
        for method in METHODS:
            if method in item:
                yield from _Operation(document, path, item, item[method], f"{place}/{method}").problems(names)


def _servers(servers: list[Any], owner: str, environments: list[Any]) -> Iterator[Problem]:
    names: list[Any] = []
    for number, server in enumerate(servers):
        place = f"{owner}/servers/{number}"
        required = {"url", "description", "x-environment"}
        yield from check_members(server, place, required, required)
        if not re.fullmatch(r"https://[a-z0-9.-]+", str(server.get("url"))):
            yield f"{place}/url: a server URL with a path, a variable or another scheme than https is not supported"
        name = server.get("x-environment")
        if name in names or not re.fullmatch(r"[a-z][a-z0-9-]*", str(name)):
            yield f"{place}/x-environment: must be a name in lower case that no other server has"
        if name not in environments:
            yield f"{place}/x-environment: {name} is not the environment of one of #/servers"
        names.append(name)


class _Operation:
    def __init__(self, document: Document, path: str, item: Any, operation: Any, place: str) -> None:
        self.document, self.path, self.item, self.operation, self.place = document, path, item, operation, place

    def problems(self, names: dict[str, str]) -> Iterator[Problem]:
        supported = {"operationId", "tags", "summary", "description", "deprecated", "security", *_SWITCHES}
        yield from check_members(
            self.operation,
            self.place,
            supported | {"parameters", "requestBody", "responses", "servers"},
            {"operationId", "tags", "summary", "responses"},
        )
        name = str(self.operation.get("operationId"))
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", name):
            yield f"{self.place}/operationId: only letters and digits are supported"
        yield from check_unique(name, f"{self.place}/operationId", names)
        declared = [tag.get("name") for tag in self.document.get("tags", [])]
        tags = self.operation.get("tags") or []
        if len(tags) != 1 or tags[0] not in declared:
            yield f"{self.place}/tags: exactly one tag, and one that #/tags describes, is supported"
        for member in _SWITCHES:
            if not isinstance(self.operation.get(member, False), bool):
                yield f"{self.place}/{member}: must be true or false"
        environments = [server.get("x-environment") for server in self.document.get("servers") or []]
        yield from _servers(self.operation.get("servers") or [], self.place, environments)
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
        names: dict[str, str] = {}
        in_path = []
        for place, parameter in self._all_parameters():
            supported = {"name", "in", "description", "required", "deprecated", "schema", "example", "style", "explode"}
            yield from check_members(parameter, place, supported, {"name", "in", "schema"})
            where, name = parameter.get("in"), str(parameter.get("name"))
            styles = _STYLES.get(where)
            if styles is None:
                yield f"{place}: a {where} parameter is not supported"
                continue
            style = parameter.get("style", styles[0])
            if style not in styles:
                yield f"{place}/style: a {where} parameter of the style {style} is not supported"
            if where == "path":
                in_path.append(name)
            if where == "header" and name.lower() in _OWN_HEADERS:
                yield f"{place}: a header parameter of the name {name} is not supported"
            yield from schemas.check_name(name, place)
            yield from check_unique(name, place, names)
            schema = parameter.get("schema", {})
            yield from schemas.check_schema(self.document, schema, f"{place}/schema")
            kind = resolve(self.document, schema)
            if kind.get("type") == "array":
                if style.endswith("Delimited") and parameter.get("explode", False):
                    yield f"{place}/explode: true has no meaning with the style {style}"
                schema = kind.get("items", {})
                kind = resolve(self.document, schema)
            elif style.endswith("Delimited"):
                yield f"{place}/style: {style} is for arrays"
            if kind.get("type", "object") in ("object", "array") or schema.get("nullable"):
                yield f"{place}/schema: a {where} parameter of this type is not supported"
        placeholders = re.findall(r"\{([^}]+)\}", self.path)
        if sorted(in_path) != sorted(placeholders):
            yield f"{self.place}/parameters: the path contains {placeholders}, the parameters are {in_path}"

    def _all_parameters(self) -> Iterator[tuple[str, Any]]:
        for owner, place in ((self.item, self.place.rpartition("/")[0]), (self.operation, self.place)):
            for number, parameter in enumerate(owner.get("parameters", [])):
                yield f"{place}/parameters/{number}", resolve(self.document, parameter)

    def _body(self) -> Iterator[Problem]:
        place = f"{self.place}/requestBody"
        if "requestBody" not in self.operation:
            if self.operation.get("x-encrypted-body"):
                yield f"{self.place}/x-encrypted-body: needs a `requestBody`"
            return
        body = resolve(self.document, self.operation["requestBody"])
        yield from check_members(body, place, {"description", "required", "content"}, {"content"})
        content = body.get("content", {})
        if not content:
            yield f"{place}/content: needs a media type"
        yield from self._content(content, place)
        if self.operation.get("x-encrypted-body"):
            for media_type in content:
                if not re.match(r"application/(jwt|jose)(;|$)", media_type):
                    yield f"{place}/content: `x-encrypted-body` needs application/jwt or application/jose"
        if len(content) > 1:
            media_types: dict[str, str] = {}
            for media_type, media in content.items():
                for value_type in self._value_types(media.get("schema", {})):
                    other = media_types.setdefault(value_type, media_type)
                    if other != media_type or value_type == "any":
                        yield f"{place}/content: the argument's type does not distinguish {media_type} from the others"

    def _value_types(self, schema: Any) -> set[str]:
        """The Python types of a schema's values, roughly. A request with two schemas that share one is ambiguous."""
        target = resolve(self.document, schema)
        if "oneOf" in target:
            return {str(part.get("$ref")) for part in target["oneOf"]}
        if target.get("properties") or "allOf" in target:
            return {str(schema.get("$ref"))}
        kind = str(target.get("type", "any"))
        if kind == "string" and target.get("format") in ("date", "date-time"):
            return {target["format"]}
        return {"number" if kind == "integer" else kind}

    def _responses(self) -> Iterator[Problem]:
        successes = False
        failures: list[str] = []
        for status, response in self.operation.get("responses", {}).items():
            place = f"{self.place}/responses/{status}"
            response = resolve(self.document, response)
            yield from check_members(response, place, {"description", "headers", "content"}, {"description"})
            for name, header in response.get("headers", {}).items():
                header = resolve(self.document, header)
                yield from check_members(
                    header, f"{place}/headers/{name}", {"description", "required", "schema", "example"}
                )
            if not isinstance(status, str) or not _STATUS.fullmatch(status):
                yield f"{place}: a status must be a string such as '201', '4XX' or default"
                continue
            content = response.get("content", {})
            yield from self._content(content, place)
            if status.startswith("2"):
                successes = True
            elif content:
                failures.append(status)
        if not successes:
            yield f"{self.place}/responses: no success (2xx) is described"
        if "default" not in failures and not {"4XX", "5XX"} <= set(failures):
            yield f"{self.place}/responses: the errors need a schema: `default`, or `4XX` and `5XX`"

    def _content(self, content: Any, place: str) -> Iterator[Problem]:
        essences = [media_type.partition(";")[0] for media_type in content]
        for media_type, media in content.items():
            here = f"{place}/content/{media_type.replace('~', '~0').replace('/', '~1')}"
            yield from check_members(media, here, {"schema", "example", "examples"}, {"schema"})
            essence = media_type.partition(";")[0]
            is_json = essence == "application/json" or essence.endswith("+json")
            if not _MEDIA_TYPE.fullmatch(media_type) or not (is_json or _TEXT.fullmatch(essence)):
                yield f"{here}: the media type {media_type} is not supported"
                continue
            if essences.count(essence) > 1:
                yield f"{here}: the media type {essence} twice, with other parameters, is not supported"
            schema = media.get("schema", {})
            yield from schemas.check_schema(self.document, schema, f"{here}/schema")
            kind = resolve(self.document, schema)
            if not is_json and (kind.get("type") != "string" or "enum" in kind or "date" in kind.get("format", "")):
                yield f"{here}/schema: a body that is not JSON must be a string, without `enum` or a date in it"
            if schema.get("nullable"):
                yield f"{here}/schema/nullable: a body that may be null is not supported"
            for name, example in media.get("examples", {}).items():
                yield from check_members(
                    example, f"{here}/examples/{name}", {"summary", "description", "value"}, {"value"}
                )
