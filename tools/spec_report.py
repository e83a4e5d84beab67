"""What the working tree changes for users against an earlier commit, and which version it may have.

    python tools/spec_report.py report --base v1.2.0 [--out build/spec-report.md]
    python tools/spec_report.py check  --base v1.2.0    refuse a version that is too low, or that the changelog lacks

Compared are the two specifications (redocly), the two public Python APIs (griffe), and the tests of then with the code
of now (mypy). The gravest finding is the verdict. Both trees are copied first; neither is touched.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

import redocly
import report_api
import report_cost
import report_page
import report_types
import report_wire
import verdict
from verdict import Finding, Impact

ROOT: Final = Path(__file__).resolve().parent.parent


class Stop(Exception):
    """The run cannot go on. The message says why."""


def main(arguments: list[str], root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(prog="spec_report.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("verb", choices=["report", "check"])
    parser.add_argument("--base", required=True, help="commit, tag or branch to compare with")
    parser.add_argument("--out", type=Path, default=Path("build", "spec-report.md"), help="the file to write")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="spec-report-") as name:
            before, after = Path(name, "before"), Path(name, "after")
            export_commit(root, options.base, before)
            export_working_tree(root, after)
            if options.verb == "check":
                return check(before, after, options.base)
            return report(before, after, options.base, root / options.out)
    except (Stop, redocly.RedoclyError, report_types.MypyError, report_cost.CostError, verdict.VersionError) as stop:
        print(f"spec-report: {stop}", file=sys.stderr)
        return 1


def report(before: Path, after: Path, base: str, out: Path) -> int:
    """Write the page, and say where it is."""
    found = findings(before, after)
    tests, checked = report_types.findings(before, after)
    text = report_page.page(
        base=base,
        versions=(verdict.version(before), verdict.version(after)),
        findings=[*found, *tests],
        checked=checked,
        costs=report_cost.measure(before, after),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(text.encode("utf-8"))
    impact = verdict.worst([*found, *tests])
    print(f"spec-report: {impact.word}; the page is {out}")
    return 0


def check(before: Path, after: Path, base: str) -> int:
    """Refuse a release whose version is too low, or that the changelog does not know."""
    found = [*findings(before, after), *report_types.findings(before, after)[0]]
    problems = release_problems(before, after, verdict.worst(found))
    for problem in problems:
        print(f"release-check: {problem}", file=sys.stderr)
    if problems:
        print(f"  `make spec-report BASE={base}` says why", file=sys.stderr)
        return 1
    print(f"release-check: {verdict.spelled(verdict.version(after))} may follow {base}")
    return 0


def findings(before: Path, after: Path) -> list[Finding]:
    """What changed on the wire and in Python between two trees of the project."""
    for tree in (before, after):
        for needed in ("openapi.yaml", verdict.VERSION_FILE):
            if not (tree / needed).is_file():
                raise Stop(f"one of the two trees has no {needed}; compare with a later commit")
    return [
        *report_wire.findings(before / "openapi.yaml", after / "openapi.yaml"),
        *report_api.findings(before, after),
    ]


def release_problems(before: Path, after: Path, impact: Impact) -> list[str]:
    """What speaks against releasing ``after`` with the version that it has."""
    was, now = verdict.version(before), verdict.version(after)
    # A release that changes nothing that can be seen from outside is one all the same.
    lowest = verdict.lowest(was, max(impact, Impact.PATCH))
    found = []
    if now < lowest:
        found.append(
            f"kind of change since {verdict.spelled(was)}: {impact.word}; {verdict.VERSION_FILE} says "
            f"{verdict.spelled(now)}, the lowest version allowed is {verdict.spelled(lowest)}"
        )
    if not verdict.has_section((after / "CHANGELOG.md").read_text(encoding="utf-8"), now):
        found.append(f"CHANGELOG.md has no section {verdict.spelled(now)}, or nothing in it")
    return found


def export_commit(root: Path, base: str, folder: Path) -> None:
    """The files of a commit.

    Raises:
        Stop: git knows no such commit.
    """
    if not base:
        raise Stop("say what to compare with, for example BASE=v0.1.0 or BASE=main")
    if base.startswith("-") or _git(root, "rev-parse", "--verify", "--quiet", f"{base}^{{commit}}").returncode:
        raise Stop(f"BASE={base} names no commit here; `git tag` and `git log --oneline` list what does")
    archive = _git(root, "archive", "--format=tar", base)
    if archive.returncode:
        raise Stop(f"git archive failed: {archive.stderr.decode('utf-8', 'replace').strip()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")


def export_working_tree(root: Path, folder: Path) -> None:
    """The files as they are now, committed or not, without those that git ignores."""
    listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").stdout.decode("utf-8")
    for name in filter(None, listed.split("\0")):
        if (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, folder / name)


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
