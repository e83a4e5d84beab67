"""The bounds of the dependencies in setup.py: each is tested by the environments `lowest-*` of tox."""

from __future__ import annotations

import ast
import gzip
import re
import tomllib
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import cache
from importlib import metadata
from types import ModuleType
from typing import Any

import pytest

from cybersource_flex import errors, fields
from cybersource_flex.auth import BearerToken
from support.modules import load_module
from support.paths import ROOT
from support.servers import RawServer
from support.transports import ONE_ATTEMPT

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load_module(ROOT / "tools" / "lowest_versions.py")


@pytest.fixture(scope="module")
def sbom() -> ModuleType:
    return load_module(ROOT / "tools" / "sbom.py")


def test_the_lowest_versions_are_those_of_the_requirements(tool: ModuleType) -> None:
    requirements = [
        "urllib3>=2.6,<3",
        "python-dateutil<5,!=2.9.1,>=2.9.0",
        'aiohttp>=3.14,<4; extra == "async"',
        'aiohttp>=3.14,<4; extra == "all"',
        'rich>=13.7; extra == "cli"',
        'old>=1; python_version < "3"',
        'new>=1; python_version > "3"',
    ]
    lowest = tool.lowest(requirements, ["all", "async"])
    assert lowest == {"urllib3": "2.6", "python-dateutil": "2.9.0", "aiohttp": "3.14", "new": "1"}


@pytest.mark.parametrize(
    "requirements",
    [
        ["urllib3"],
        ["urllib3<3"],
        ["urllib3>2"],
        ["urllib3!=2"],
        ["urllib3>=2,>=2.1"],
        ['aiohttp>=3.14; extra == "async"', 'aiohttp>=3.13; extra == "all"'],
    ],
)
def test_a_requirement_without_a_lower_bound_is_rejected(tool: ModuleType, requirements: list[str]) -> None:
    with pytest.raises(ValueError, match=r"(urllib3|aiohttp) must have one lower bound"):
        tool.lowest(requirements, ["all", "async"])


def requirement_lists() -> dict[str, list[str]]:
    """The lists of requirements in setup.py: ``REQUIRED``, ``CLI`` and so on."""
    tree = ast.parse((ROOT / "setup.py").read_text("utf-8"))
    assignments = [each for each in tree.body if isinstance(each, ast.Assign) and isinstance(each.value, ast.List)]
    return {ast.unparse(each.targets[0]): ast.literal_eval(each.value) for each in assignments}


def test_every_dependency_has_a_lower_bound(tool: ModuleType) -> None:
    requirements = [requirement for each in requirement_lists().values() for requirement in each]
    lowest = tool.lowest(requirements, [])
    assert lowest.keys() >= {"urllib3", "python-dateutil", "cryptography", "aiohttp", "click", "opentelemetry-api"}
    assert len(lowest) == len(requirements)


def test_the_lowest_versions_are_tested_with_the_oldest_python_and_a_newer_one() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["tox"]
    (oldest,) = re.findall(r'python_requires=">=3\.([0-9]+)"', (ROOT / "setup.py").read_text("utf-8"))
    tested = {name for name in settings["env_list"] if name.startswith("lowest-")}
    assert tested == {f"lowest-{factor}" for factor in settings["env_base"]["lowest"]["factors"]}
    assert f"lowest-py3{oldest}" in tested
    assert len(tested) > 1


# Spellings of licences in metadata without a licence expression. "BSD License" can be one of several licences.
SPELLINGS = {
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: MIT License": "MIT",
}


def stated_licenses(distribution: metadata.Distribution) -> set[str]:
    """The licence in the metadata of a distribution, as SPDX expression if the spelling is known."""
    about = distribution.metadata
    if (expression := about.get("License-Expression")) is not None:
        return {expression}
    classifiers = [each for each in about.get_all("Classifier") or [] if each.startswith("License ::")]
    stated = [about["License"]] if about.get("License") else classifiers
    return {SPELLINGS.get(each, each) for each in stated}


def installed_dependencies(sbom: ModuleType, tool: ModuleType) -> Iterator[tuple[str, metadata.Distribution, set[str]]]:
    """Each installed dependency, direct or indirect, with the names of those that it requires here.

    Direct dependencies in their lowest version are left out: the recorded licences are those of the newest ones.
    """
    lists = requirement_lists()
    lowest = tool.lowest([requirement for each in lists.values() for requirement in each], [])
    remaining, visited = list(lowest), set()
    while remaining:
        name = remaining.pop()
        distribution = metadata.distribution(name)
        if name in visited or tool.Version(distribution.version) == tool.Version(lowest.get(name, "0")):
            continue
        visited.add(name)
        parsed = [tool.Requirement(each) for each in distribution.requires or []]
        required = {
            sbom.requirement_name(each.name)
            for each in parsed
            if each.marker is None or each.marker.evaluate({"extra": ""})
        }
        remaining += required
        yield name, distribution, required


def test_the_recorded_licences_and_requirements_are_those_of_the_metadata(sbom: ModuleType, tool: ModuleType) -> None:
    recorded = sbom.read_dependencies()
    for name, distribution, required in installed_dependencies(sbom, tool):
        assert name in recorded, f"add {name} to tools/dependencies.toml: {stated_licenses(distribution)}"
        assert {recorded[name]["license"]} == stated_licenses(distribution), name
        assert required <= set(recorded[name]["requires"]), name


def test_the_page_of_dependencies_lists_every_licence(sbom: ModuleType) -> None:
    recorded = sbom.read_dependencies()
    lists = {name: list(map(sbom.requirement_name, each)) for name, each in requirement_lists().items()}
    installed: Mapping[str, set[str]] = {name: sbom.with_indirect(each, recorded) for name, each in lists.items()}

    def when(name: str) -> str:
        if name in installed["REQUIRED"]:
            return "always"
        return ", ".join(f"`{extra.lower()}`" for extra in sorted(installed) if name in installed[extra])

    rows = [f"| {name} | {recorded[name]['license']} | {when(name)} |" for name in sorted(recorded)]
    page = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    assert re.findall(r"^\| [a-z0-9-]+ \| .*$", page, re.MULTILINE) == rows
    assert recorded.keys() == set().union(*installed.values()), "an entry of tools/dependencies.toml is not used"


def test_the_page_of_versions_names_the_supported_python_versions() -> None:
    setup = (ROOT / "setup.py").read_text("utf-8")
    minors = sorted(map(int, re.findall(r'"Programming Language :: Python :: 3\.([0-9]+)"', setup)))
    assert minors == list(range(minors[0], minors[-1] + 1))
    page = (ROOT / "docs" / "versions.md").read_text("utf-8")
    assert f"At present these are 3.{minors[0]} to 3.{minors[-1]}." in page


def test_the_sbom_needs_the_licence_of_every_dependency(sbom: ModuleType) -> None:
    project = sbom.Project("example", "1", "MIT", ["urllib3>=2", "unknown_name>=1"], {})
    with pytest.raises(ValueError, match=r"dependencies\.toml has no entry for unknown-name"):
        sbom.bill_of_materials(project)


def test_the_sbom_depends_only_on_its_input(sbom: ModuleType) -> None:
    project = sbom.Project("example", "1", "MIT", ["cryptography>=42"], {"cli": ["rich>=13"]})
    bom = sbom.bill_of_materials(project)
    assert bom == sbom.bill_of_materials(project)
    assert bom["serialNumber"] != sbom.bill_of_materials(project._replace(version="2"))["serialNumber"]
    properties = {each["name"]: each.get("properties") for each in bom["components"]}
    assert properties["cffi"] is None
    assert properties["cryptography"] == [{"name": "example:requirement", "value": "cryptography>=42"}]
    assert {"name": "example:extra", "value": "cli"} in properties["pygments"]


@cache
def compressed(*encodings: str) -> bytes:
    """64 MiB, compressed with each of these encodings, one after the other."""
    if not encodings:
        return bytes(64 * MIB)
    compress = gzip.compress if encodings[-1] == "gzip" else zlib.compress
    return compress(compressed(*encodings[:-1]), 9)


Serve = Callable[[bytes], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server for one response. Returns its URL."""
    with ExitStack() as servers:
        yield lambda response: servers.enter_context(RawServer(response)).url


# urllib3 before 2.6 would decompress 1,143 bytes to 1.2 GB in 27 s, regardless of the limit and the deadline, and
# aiohttp before 3.14.1 likewise. This package allows these versions, because it decompresses the responses itself.
@pytest.mark.parametrize("status", ["201 Created", "400 Bad Request", "302 Found"])
@pytest.mark.parametrize("encodings", [["gzip"], ["deflate"], ["gzip", "gzip"], ["gzip", "deflate"], ["gzip"] * 5])
def test_a_compressed_response_costs_no_memory(
    encodings: list[str], status: str, serve: Serve, client_class: Any
) -> None:
    body = compressed(*encodings)
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/jwt\r\nLocation: /\r\nContent-Length: {len(body)}\r\n"
    url = serve(f"{head}Content-Encoding: {', '.join(encodings)}\r\n\r\n".encode("ascii") + body)
    assert memory_of_a_failed_call(client_class, url) < 16 * MIB


# aiohttp before 3.13.4 accepts any number of headers.
@pytest.mark.parametrize("status", ["201 Created", "400 Bad Request", "103 Early Hints"])
def test_a_response_with_many_headers_costs_no_memory(status: str, serve: Serve, client_class: Any) -> None:
    headers = b"".join(b"X-%d: %s\r\n" % (number, b"v" * 40) for number in range(150_000))
    url = serve(f"HTTP/1.1 {status}\r\n".encode("ascii") + headers + b"Content-Length: 0\r\n\r\n")
    assert memory_of_a_failed_call(client_class, url) < 16 * MIB


def memory_of_a_failed_call(client_class: Any, url: str) -> int:
    """The peak of the memory that is used by a call that is sent and fails."""
    requested_fields = fields(card=["number"])
    with client_class(BearerToken("token"), environment=url, retry=ONE_ATTEMPT) as client:
        tracemalloc.start()
        try:
            with pytest.raises(errors.CallError) as caught:
                client.create_capture_context(requested_fields)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert caught.value.outcome != "not_sent"
    return peak
