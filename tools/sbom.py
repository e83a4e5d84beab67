"""The software bill of materials (SBOM) of the wheel: CycloneDX in JSON, in the folder that PEP 770 defines.

setup.py calls this when it builds a wheel. The SBOM names every distribution that the package requires, directly or
indirectly, with its licence. It has no versions, because the installer chooses them; direct dependencies have the range
that setup.py allows. Equal input gives equal bytes: there is no time, no random number and nothing of the machine.
"""

from __future__ import annotations

import json
import re
import tomllib
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

DEPENDENCIES = Path(__file__).with_name("dependencies.toml")


class Project(NamedTuple):
    """The metadata of the package that the SBOM describes.

    Attributes:
        name: the name of the distribution.
        version: its version.
        license: its licence as an SPDX expression.
        required: requirements of every installation.
        extras: further requirements of each extra.
    """

    name: str
    version: str
    license: str
    required: list[str]
    extras: Mapping[str, list[str]]


def requirement_name(requirement: str) -> str:
    """The normalised name of the distribution in a requirement such as ``urllib3>=2.2,<3``."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    if match is None:
        raise ValueError(f"not a requirement: {requirement!r}")
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def read_dependencies() -> dict[str, dict[str, Any]]:
    """Each distribution with its licence and the distributions that it requires."""
    return tomllib.loads(DEPENDENCIES.read_text("utf-8"))


def with_indirect(names: Iterable[str], dependencies: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """The distributions, and all that they require."""
    complete: set[str] = set()
    remaining = list(names)
    while remaining:
        name = remaining.pop()
        if name not in dependencies:
            raise ValueError(f"{DEPENDENCIES.name} has no entry for {name}: add its licence and requirements")
        if name not in complete:
            complete.add(name)
            remaining += dependencies[name]["requires"]
    return complete


def bill_of_materials(project: Project) -> dict[str, Any]:
    """The SBOM as an object for JSON."""
    dependencies = read_dependencies()
    requirements = [*project.required, *(each for extra in project.extras.values() for each in extra)]
    direct = {requirement_name(each): each for each in requirements}
    required = {requirement_name(each) for each in project.required}
    always = with_indirect(required, dependencies)
    reference = f"pkg:pypi/{project.name}@{project.version}"

    def component(name: str) -> dict[str, Any]:
        properties = [("requirement", direct[name])] if name in direct else []
        properties += [
            ("extra", extra)
            for extra, members in sorted(project.extras.items())
            if name not in always and name in with_indirect(map(requirement_name, members), dependencies)
        ]
        entry: dict[str, Any] = {
            "type": "library",
            "bom-ref": _purl(name),
            "name": name,
            "scope": "required" if name in always else "optional",
            "licenses": [{"expression": dependencies[name]["license"]}],
            "purl": _purl(name),
        }
        if properties:
            entry["properties"] = [{"name": f"{project.name}:{key}", "value": value} for key, value in properties]
        return entry

    components = sorted(with_indirect(direct, dependencies))
    graph = {reference: sorted(direct)} | {_purl(name): sorted(dependencies[name]["requires"]) for name in components}
    bom = {
        "bomFormat": "CycloneDX",
        # Many scanners do not read newer versions, and this document needs nothing of them.
        "specVersion": "1.4",
        "version": 1,
        "metadata": {
            "component": {
                "type": "library",
                "bom-ref": reference,
                "name": project.name,
                "version": project.version,
                "licenses": [{"expression": project.license}],
                "purl": reference,
            },
        },
        "components": [component(name) for name in components],
        "dependencies": [{"ref": ref, "dependsOn": [_purl(name) for name in names]} for ref, names in graph.items()],
    }
    # An id that depends on the content alone.
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bom, sort_keys=True))
    return {**bom, "serialNumber": serial.urn}


def write(project: Project, dist_info: Path) -> None:
    """Write the SBOM into a wheel's folder ``*.dist-info``."""
    folder = dist_info / "sboms"
    folder.mkdir(exist_ok=True)
    content = json.dumps(bill_of_materials(project), indent=1, sort_keys=True) + "\n"
    (folder / f"{project.name}.cdx.json").write_text(content, encoding="utf-8", newline="\n")


def _purl(name: str) -> str:
    return f"pkg:pypi/{name}"
