"""Run in an environment that holds the wheel and nothing else: what it brought, and that all of it imports.

Prints what it found and leaves with exit code 1 where that is not what was promised.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import distributions, requires

import cybersource_flex

PROMISED = {"urllib3", "python-dateutil", "cryptography", "joserfc"}
# What those four need themselves, and what the environment had before.
THEIR_NEEDS = {"cffi", "pycparser", "six", "tzdata", "typing-extensions"}
TOOLS = {"pip", "setuptools", "wheel"}


def main() -> int:
    lines = [line for line in requires("cybersource-flex") or [] if "extra ==" not in line]
    named = {re.split(r"[^A-Za-z0-9._-]", line)[0] for line in lines}
    installed = {found.metadata["Name"].lower().replace("_", "-") for found in distributions()} - TOOLS
    surplus = installed - PROMISED - THEIR_NEEDS - {"cybersource-flex"}
    missing = PROMISED - installed
    for name in cybersource_flex.__all__:
        getattr(cybersource_flex, name)
    folder = cybersource_flex.__path__[0]
    sys.stdout.write(f"{folder}\nbrought: {', '.join(sorted(installed))}\n")
    if named != PROMISED or surplus or missing or "site-packages" not in folder:
        sys.stdout.write(f"named {sorted(named)}; surplus {sorted(surplus)}; missing {sorted(missing)}\n")
        return 1
    sys.stdout.write("1 passed, 0 failed\n")
    return 0


sys.exit(main())
