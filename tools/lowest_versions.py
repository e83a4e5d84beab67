"""Install the lowest versions of the dependencies that setup.py allows, into the environment that runs this.

    python tools/lowest_versions.py [requirement ...]

The versions are read from the metadata of the installed package, so setup.py is the only place that has them. Further
requirements are installed along, where their own dependencies must agree with those versions.
"""

from __future__ import annotations

import importlib
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
    found: dict[str, str] = {}
    for requirement in map(Requirement, requirements):
        marker = requirement.marker
        if marker is not None and not any(map(marker.evaluate, environments)):
            continue
        bounds = {each.version for each in requirement.specifier if each.operator in (">=", "==", "~=")}
        bounds |= {found[requirement.name]} if requirement.name in found else set()
        if len(bounds) != 1:
            raise ValueError(f"{requirement.name} must have one lower bound (>=), not {sorted(bounds) or 'none'}")
        found[requirement.name] = bounds.pop()
    return found


def main(further: list[str]) -> int:
    extras = metadata.metadata(PACKAGE).get_all("Provides-Extra") or []
    wanted = lowest(metadata.requires(PACKAGE) or [], extras)
    pins = [f"{name}=={version}" for name, version in wanted.items()]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", *pins, *further], check=True)
    # Installing does not fail where another distribution asks for a newer version.
    subprocess.run([*pip, "check"], check=True)
    importlib.invalidate_caches()
    others = {name: metadata.version(name) for name in wanted}
    others = {name: found for name, found in others.items() if Version(found) != Version(wanted[name])}
    if others:
        print(f"installed instead of the lowest versions: {others}", file=sys.stderr)
        return 1
    print("lowest versions:", *sorted(pins))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
