"""Install the lowest versions of the dependencies that setup.py allows, in the current environment.

    python tools/lowest_versions.py [requirement ...]

The versions are read from the metadata of the installed package, so setup.py is the only place that lists them. Further
requirements on the command line are installed, too; their dependencies must agree with those versions.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata

from packaging.requirements import Requirement
from packaging.version import Version

PACKAGE = "cybersource-flex"


def lowest(requirements: Iterable[str], extras: Iterable[str]) -> dict[str, str]:
    """Map each requirement that applies to this Python, with any of the extras, to the lowest version that it allows.

    Raises:
        ValueError: a requirement has no lower bound, or several.
    """
    environments = [{"extra": extra} for extra in ("", *extras)]
    versions: dict[str, str] = {}
    for requirement in map(Requirement, requirements):
        marker = requirement.marker
        if marker is not None and not any(map(marker.evaluate, environments)):
            continue
        bounds = {each.version for each in requirement.specifier if each.operator in (">=", "==", "~=")}
        bounds |= {versions[requirement.name]} if requirement.name in versions else set()
        if len(bounds) != 1:
            raise ValueError(f"{requirement.name} must have one lower bound (>=), not {sorted(bounds) or 'none'}")
        versions[requirement.name] = bounds.pop()
    return versions


def main(further: list[str]) -> int:
    extras = metadata.metadata(PACKAGE).get_all("Provides-Extra") or []
    required = lowest(metadata.requires(PACKAGE) or [], extras)
    pins = [f"{name}=={version}" for name, version in required.items()]
    uv = os.environ.get("TOX_UV")
    pip = [uv, "pip"] if uv else [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", *pins, *further], check=True)
    # An installation does not fail if another distribution requires a newer version.
    subprocess.run([*pip, "check"], check=True)
    importlib.invalidate_caches()
    others = {name: metadata.version(name) for name in required}
    others = {name: installed for name, installed in others.items() if Version(installed) != Version(required[name])}
    if others:
        print(f"installed instead of the lowest versions: {others}", file=sys.stderr)
        return 1
    print("lowest versions:", *sorted(pins))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
