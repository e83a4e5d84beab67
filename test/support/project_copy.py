"""Copies of the project in which the generator can run."""

from __future__ import annotations

import shutil
from pathlib import Path

from support.paths import ROOT

# The inputs and outputs of the generation.
_GENERATION = (
    *("cybersource_flex", "docs", "templates", "tools", ".openapi-generator"),
    *("openapi.yaml", "generator-config.yaml"),
)


def copy_project(folder: Path, *more: str, without: str = "") -> Path:
    """Copy all inputs and outputs of the generation.

    Args:
        folder: the new folder.
        more: further files and folders that are copied.
        without: a name of folders that are left out.
    """
    ignore = shutil.ignore_patterns("__pycache__", ".*_cache", "node_modules", without)
    for name in (*_GENERATION, *more):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder
