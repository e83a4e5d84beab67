"""Run in an environment that holds the wheel and nothing else: what it brought, and that all of it imports.

Prints what it found and leaves with exit code 1 where that is not what was promised.
"""

from __future__ import annotations

import hashlib
import json
import pkgutil
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import distributions, requires
from pathlib import Path

import cybersource_flex

PROMISED = {"urllib3", "python-dateutil", "cryptography"}
# What those three need themselves, and what the environment had before.
THEIR_NEEDS = {"cffi", "pycparser", "six", "tzdata", "typing-extensions"}
TOOLS = {"pip", "setuptools", "wheel"}
# What needs the extra of its name, or pytest.
APART = ("cli", "emulator", "testing")


def modules() -> Iterator[str]:
    """Every module outside of those folders, imported; without the few that join in with a package of another extra."""
    optional = [line for line in requires("cybersource-flex") or [] if "extra ==" in line]
    apart = {line.partition(";")[0] for line in optional if re.search("cli|emulator", line.partition("extra ==")[2])}
    others = [line for line in optional if line.partition(";")[0] not in apart]
    for found in pkgutil.walk_packages(cybersource_flex.__path__, "cybersource_flex.", onerror=lambda name: None):
        if found.name.split(".")[1] in APART:
            continue
        try:
            import_module(found.name)
        except ModuleNotFoundError as cause:
            if not any(line.startswith(str(cause.name).partition(".")[0]) for line in others):
                raise
        else:
            yield found.name


def altered(folder: Path) -> list[str]:
    """The generated files that are not what their record says."""
    record = json.loads((folder / "provenance.json").read_bytes())
    return [
        path
        for path, digest in record["outputs"].items()
        if hashlib.sha256((folder.parent / path).read_bytes()).hexdigest() != digest
    ]


def main() -> int:
    lines = [line for line in requires("cybersource-flex") or [] if "extra ==" not in line]
    named = {re.split(r"[^A-Za-z0-9._-]", line)[0] for line in lines}
    installed = {found.metadata["Name"].lower().replace("_", "-") for found in distributions()} - TOOLS
    surplus = installed - PROMISED - THEIR_NEEDS - {"cybersource-flex"}
    missing = PROMISED - installed
    for name in cybersource_flex.__all__:
        getattr(cybersource_flex, name)
    imported = list(modules())
    folder = Path(cybersource_flex.__path__[0])
    differing = altered(folder)
    sys.stdout.write(f"{folder}\nbrought: {', '.join(sorted(installed))}; imported {len(imported)} modules\n")
    if named != PROMISED or surplus or missing or differing or "site-packages" not in folder.parts:
        sys.stdout.write(f"named {sorted(named)}; surplus {sorted(surplus)}; missing {sorted(missing)}\n")
        sys.stdout.write(f"not as generated: {differing}\n")
        return 1
    if len(imported) < 50 or not (folder / "py.typed").is_file():
        sys.stdout.write("modules or py.typed are missing\n")
        return 1
    sys.stdout.write("1 passed, 0 failed\n")
    return 0


sys.exit(main())
