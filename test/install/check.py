"""Runs in an environment that contains only the wheel. Checks its dependencies, and that every module can be imported.

Prints the result, and exits with 1 if it is not as expected.
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

EXPECTED = {"urllib3", "python-dateutil", "cryptography"}
# Dependencies of these three, and packages that the environment already contains.
INDIRECT = {"cffi", "pycparser", "six", "tzdata", "typing-extensions"}
TOOLS = {"pip", "setuptools", "wheel"}
# Folders that need the extra of their name, or pytest.
OPTIONAL_FOLDERS = ("cli", "emulator", "testing")


def modules() -> Iterator[str]:
    """Import every module outside of those folders, except modules that need a package of another extra."""
    optional = [line for line in requires("cybersource-flex") or [] if "extra ==" in line]
    with_cli_or_emulator = {
        line.partition(";")[0] for line in optional if re.search("cli|emulator", line.partition("extra ==")[2])
    }
    others = [line for line in optional if line.partition(";")[0] not in with_cli_or_emulator]
    for module in pkgutil.walk_packages(cybersource_flex.__path__, "cybersource_flex.", onerror=lambda name: None):
        if module.name.split(".")[1] in (*OPTIONAL_FOLDERS, "__main__"):
            continue
        try:
            import_module(module.name)
        except ModuleNotFoundError as cause:
            if not any(line.startswith(str(cause.name).partition(".")[0]) for line in others):
                raise
        else:
            yield module.name


def altered(folder: Path) -> list[str]:
    """The generated files that differ from the record."""
    record = json.loads((folder / "provenance.json").read_bytes())
    return [
        path
        for path, digest in record["outputs"].items()
        if hashlib.sha256((folder.parent / path).read_bytes()).hexdigest() != digest
    ]


def main() -> int:
    lines = [line for line in requires("cybersource-flex") or [] if "extra ==" not in line]
    named = {re.split(r"[^A-Za-z0-9._-]", line)[0] for line in lines}
    installed = {distribution.metadata["Name"].lower().replace("_", "-") for distribution in distributions()} - TOOLS
    surplus = installed - EXPECTED - INDIRECT - {"cybersource-flex"}
    missing = EXPECTED - installed
    for name in cybersource_flex.__all__:
        getattr(cybersource_flex, name)
    imported = list(modules())
    folder = Path(cybersource_flex.__path__[0])
    differing = altered(folder)
    sys.stdout.write(f"{folder}\nbrought: {', '.join(sorted(installed))}; imported {len(imported)} modules\n")
    if named != EXPECTED or surplus or missing or differing or "site-packages" not in folder.parts:
        sys.stdout.write(f"named {sorted(named)}; surplus {sorted(surplus)}; missing {sorted(missing)}\n")
        sys.stdout.write(f"not as generated: {differing}\n")
        return 1
    if len(imported) < 50 or not (folder / "py.typed").is_file():
        sys.stdout.write("modules or py.typed are missing\n")
        return 1
    sys.stdout.write("1 passed, 0 failed\n")
    return 0


sys.exit(main())
