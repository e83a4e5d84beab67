"""What two trees cost their users: the size of the wheel, and the time that imports take, in one run for both."""

from __future__ import annotations

import compileall
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

ROUNDS: Final = 11

_IMPORTS: Final = {
    "`import cybersource_flex`": "import cybersource_flex",
    "`FlexClient` and every public name": (
        "import cybersource_flex as f, cybersource_flex.models as m; [getattr(o, n) for o in (f, m) for n in o.__all__]"
    ),
}


class Cost(NamedTuple):
    """One thing that was measured, in both trees."""

    what: str
    unit: str
    before: float
    after: float


class CostError(Exception):
    """Something could not be measured. The message says why."""


def measure(before: Path, after: Path) -> list[Cost]:
    """Size and times of two trees.

    Raises:
        CostError: no wheel could be built, or an import failed.
    """
    sizes = [_wheel_size(tree) for tree in (before, after)]
    return [Cost("wheel", "KB", sizes[0] / 1000, sizes[1] / 1000), *_imports(before, after)]


def _wheel_size(tree: Path) -> int:
    with tempfile.TemporaryDirectory(prefix="wheel-") as name:
        # Building leaves files behind.
        shutil.copytree(tree, Path(name, "tree"), ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
        _run("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", name, f"{name}/tree")
        (wheel,) = Path(name).glob("*.whl")
        return wheel.stat().st_size


def _imports(before: Path, after: Path) -> list[Cost]:
    """Medians in milliseconds, each import in a process of its own, the trees in turn."""
    for tree in (before, after):
        compileall.compile_dir(str(tree / "cybersource_flex"), quiet=2)
    costs = []
    for what, statement in _IMPORTS.items():
        taken: dict[Path, list[float]] = {before: [], after: []}
        for _ in range(ROUNDS):
            for tree, times in taken.items():
                program = "import sys, time; sys.path.insert(0, sys.argv[1]); start = time.perf_counter(); "
                program += f"{statement}; print(time.perf_counter() - start)"
                times.append(float(_run("-I", "-c", program, str(tree))) * 1000)
        costs.append(Cost(what, "ms", statistics.median(taken[before]), statistics.median(taken[after])))
    return costs


def _run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        raise CostError(f"{' '.join(arguments[:3])} failed with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout
