"""What all tests share: the vectors, the reference material beside the checkout, and frozen time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
VECTORS = ROOT / "test" / "vectors"

# The moment at which the vectors were made: 2026-11-22T12:00:00Z.
VECTOR_TIME = 1795348800
VECTOR_UUID = "3f2b8c1e-9d47-4a6b-8c15-2e7f90ab34cd"


@pytest.fixture(scope="session")
def vector_time() -> int:
    return VECTOR_TIME


@pytest.fixture(scope="session")
def vectors() -> Callable[[str], Any]:
    """Loads a JSON file of test/vectors by its name."""
    return lambda name: json.loads((VECTORS / name).read_text("utf-8"))


@pytest.fixture(scope="session")
def reference() -> Path:
    """Published requests, tokens and keys. They are read where they lie and are no part of this project."""
    folder = Path(os.environ.get("CYBERSOURCE_FLEX_REFERENCE", ROOT.parent / "shared" / "reference"))
    if not folder.is_dir():
        pytest.skip(f"NOT TESTED against published samples: no folder {folder} (set CYBERSOURCE_FLEX_REFERENCE)")
    return folder


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> int:
    """Clock and token ids stand still as they did when the vectors were made."""
    import time
    import uuid

    monkeypatch.setattr(time, "time", lambda: float(VECTOR_TIME))
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(VECTOR_UUID))
    return VECTOR_TIME
