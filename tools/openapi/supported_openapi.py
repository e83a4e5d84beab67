"""Check that a specification uses only what the templates support of OpenAPI 3.0.3.

Everything else is reported with its JSON pointer and the feature's name: the generator would accept most of it and
write code that looks right and is wrong. To support a feature, add it here, in the templates and in the tests. The
outline is checked first (objects, lists and strings are where they must be), so that the other checks can rely on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from openapi import supported_schemas as schemas
from openapi.document import METHODS, Document, Problem, load, outline_problems, pointer_part, without_metadata
from openapi.inline_objects import Specification, name_inline_objects
from openapi.supported_schemas import check_members, check_unique, resolve

_PATH: Final = re.compile(r"(/([A-Za-z0-9_.~-]|\{[A-Za-z0-9_.-]+\})+)+")
_MEDIA_TYPE: Final = re.compile(r"[a-z]+/[a-z0-9.+-]+(;\s?[a-z]+=[A-Za-z0-9-]+)*")
_TEXT: Final = re.compile(r"application/(jwt|jose)|text/plain")
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_STATUS: Final = re.compile(r"[1-5]\d\d|[1-5]XX|default")

# Extensions of this project for an operation, each true or false.
_SWITCHES: Final = ("x-encrypted-body", "x-retry-safe")
# The default comes first.
_STYLES: Final = {
    "path": ("simple",),
    "header": ("simple",),
    "query": ("form", "spaceDelimited", "pipeDelimited"),
}

# Headers that the transport, the signers and the HTTP library set: a parameter with such a name would not reach the
# service. Also those of `client.request`, in cybersource_flex/transport/rest_operation.py.
_OWN_HEADERS: Final = {
    *("accept", "accept-encoding", "authorization", "connection", "content-encoding", "content-length", "content-type"),
    *("date", "digest", "expect", "host", "keep-alive", "proxy-authorization", "proxy-connection", "signature"),
    *("te", "trailer", "transfer-encoding", "upgrade", "user-agent", "v-c-merchant-id"),
}


def problems(source: str) -> list[Problem]:
    """Everything in an OpenAPI document that stops the generation, as ``place: what``. Empty if nothing does."""
    return read(source)[1]


def read(source: str) -> tuple[Specification, list[Problem]]:
    """Parse an OpenAPI document, leave out its metadata, and give every object in it a name.

    Returns:
        The specification, and everything that stops the generation, as ``place: what``. If the document cannot be read,
        the specification is empty.
    """
    empty = Specification({}, {})
    try:
        document = load(source)
    except (yaml.YAMLError, ValueError) as error:
        # ValueError: a date such as 2026-13-45, which YAML reads as one.
        return empty, [f"not readable as YAML: {error}"]
    if not isinstance(document, dict):
        return empty, ["not an OpenAPI document"]
    other = _other_version(document)
    if other is not None:
        return empty, [other]
    outline = list(outline_problems(document))
    if outline:
        return empty, outline
    specification = name_inline_objects(without_metadata(document))
    problems = dict.fromkeys(_document(specification.document))
    return specification, [specification.original(problem) for problem in problems]


def _other_version(document: Document) -> Problem | None:
    """A document of another version differs in every part, which is not worth a list."""
    for member in ("openapi", "swagger"):
        version = str(document.get(member, ""))
        if member in document and not version.startswith("3.0."):
            return f"#/{member}: {member} {version} is not supported; convert the document to OpenAPI 3.0"
    return None


def _document(document: Document) -> Iterator[Problem]:
    yield from check_members(document, "#", {"openapi", "info", "servers", "tags", "paths", "components", "security"})
    if "openapi" not in document:
        yield "#: needs `openapi`"
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
    names: set[str] = set()
    for path, item in document.get("paths", {}).items():
        place = f"#/paths/{pointer_part(path)}"
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
        if name is None:
            continue
        if name in names or not re.fullmatch(r"[a-z][a-z0-9-]*", str(name)):
            yield f"{place}/x-environment: must be a name in lower case that no other server has"
        if name not in environments:
            yield f"{place}/x-environment: {name} is not the environment of one of #/servers"
        names.append(name)


class _Operation:
    def __init__(self, document: Document, path: str, item: Any, operation: Any, place: str) -> None:
        self.document, self.path, self.item, self.operation, self.place = document, path, item, operation, place

    def problems(self, names: set[str]) -> Iterator[Problem]:
        supported = {"operationId", "tags", "summary", "description", "deprecated", "security", *_SWITCHES}
        yield from check_members(
            self.operation,
            self.place,
            supported | {"parameters", "requestBody", "responses", "servers"},
            {"operationId", "tags", "summary", "responses"},
        )
        name = str(self.operation.get("operationId"))
        if not re.search(r"[A-Za-z0-9]", name) or not name.isascii() or not name.isprintable():
            yield f"{self.place}/operationId: needs letters or digits, and no other characters than those of ASCII"
        if "operationId" in self.operation:
            yield from check_unique(name, f"{self.place}/operationId", names)
        declared = [tag.get("name") for tag in self.document.get("tags", [])]
        tags = self.operation.get("tags") or []
        if len(tags) != 1 or tags[0] not in declared or not re.search("[A-Za-z0-9]", tags[0]):
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
        names: set[str] = set()
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
            if where == "header" and (name.lower() in _OWN_HEADERS or not _HEADER.fullmatch(name)):
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
            here = f"{place}/content/{pointer_part(media_type)}"
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
