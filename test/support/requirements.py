"""Programs and packages that some tests need. Without them, a test is skipped, and the reason says how to install them.

``tools/not_tested.py`` reads the reasons.
"""

from __future__ import annotations

import shutil
from typing import Any

import pytest


def require_program(name: str, *, package: str, not_tested: str) -> str:
    """The path of a program. Skips the test if the program is missing.

    Args:
        name: name of the program.
        package: Debian's package of the program.
        not_tested: what is not tested if the test is skipped.
    """
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"NOT TESTED: {not_tested} (Debian: apt-get install {package})")
    return path


def require_module(name: str, *, package: str, not_tested: str) -> Any:
    """A module. Skips the test, or in the body of a module all of its tests, if the module is missing.

    Args:
        name: name of the module.
        package: what pip installs: the distribution, or ``-r`` and a file.
        not_tested: what is not tested if the module is missing.
    """
    return pytest.importorskip(name, reason=f"NOT TESTED: {not_tested} (pip install {package})")
