"""What the working tree changes for users against an earlier commit, and which version it may have.

    python tools/spec_report.py report --base v1.2.0 [--out build/spec-report.md]
    python tools/spec_report.py check  --base v1.2.0    refuse a version that is too low, or that the changelog lacks

Compared are the two specifications (redocly), the two public Python APIs (griffe), and the tests of then with the code
of now (mypy). The gravest finding is the semver_impact. Both trees are copied first; neither is touched.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import diff_openapi
import diff_python
import redocly
import semver_impact
from semver_impact import Finding, Impact, Version, lowest, spelled, worst

ROOT: Final = Path(__file__).resolve().parent.parent

_MEANING: Final = {
    Impact.NONE: "nothing that users can see",
    Impact.PATCH: "words alone, or what no program notices",
    Impact.MINOR: "something new; programs that worked go on working",
    Impact.MAJOR: "programs that worked may have to be changed",
}
_MOST: Final = 12


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
    except (Stop, redocly.RedoclyError, diff_python.MypyError, semver_impact.VersionError) as stop:
        print(f"spec-report: {stop}", file=sys.stderr)
        return 1


def report(before: Path, after: Path, base: str, out: Path) -> int:
    """Write the page, and say where it is."""
    found = findings(before, after)
    tests, checked = diff_python.previous_test_findings(before, after)
    text = page(
        base=base,
        versions=(semver_impact.version(before), semver_impact.version(after)),
        findings=[*found, *tests],
        checked=checked,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(text.encode("utf-8"))
    impact = worst([*found, *tests])
    print(f"spec-report: {impact.word}; the page is {out}")
    return 0


def check(before: Path, after: Path, base: str) -> int:
    """Refuse a release whose version is too low, or that the changelog does not know."""
    found = [*findings(before, after), *diff_python.previous_test_findings(before, after)[0]]
    problems = release_problems(before, after, worst(found))
    for problem in problems:
        print(f"release-check: {problem}", file=sys.stderr)
    if problems:
        print(f"  `make spec-report BASE={base}` says why", file=sys.stderr)
        return 1
    print(f"release-check: {spelled(semver_impact.version(after))} may follow {base}")
    return 0


def findings(before: Path, after: Path) -> list[Finding]:
    """What changed on the wire and in Python between two trees of the project."""
    for tree in (before, after):
        for needed in ("openapi.yaml", semver_impact.VERSION_FILE):
            if not (tree / needed).is_file():
                raise Stop(f"one of the two trees has no {needed}; compare with a later commit")
    return [
        *diff_openapi.findings(before / "openapi.yaml", after / "openapi.yaml"),
        *diff_python.findings(before, after),
    ]


def release_problems(before: Path, after: Path, impact: Impact) -> list[str]:
    """What speaks against releasing ``after`` with the version that it has."""
    was, now = semver_impact.version(before), semver_impact.version(after)
    # A release that changes nothing that can be seen from outside is one all the same.
    allowed = lowest(was, max(impact, Impact.PATCH))
    found = []
    if now < allowed:
        found.append(
            f"kind of change since {spelled(was)}: {impact.word}; {semver_impact.VERSION_FILE} says "
            f"{spelled(now)}, the lowest version allowed is {spelled(allowed)}"
        )
    if not semver_impact.has_section((after / "CHANGELOG.md").read_text(encoding="utf-8"), now):
        found.append(f"CHANGELOG.md has no section {spelled(now)}, or nothing in it")
    return found


def page(*, base: str, versions: tuple[Version, Version], findings: list[Finding], checked: int) -> str:
    """The page, in Markdown.

    Args:
        base: what the working tree was compared with, as it was named.
        versions: of then and of now.
        findings: everything that was found, from all sources.
        checked: how many files of the previous tests were checked.
    """
    wire, python, tests = (
        [finding for finding in findings if finding.source == source]
        for source in (diff_openapi.SOURCE, diff_python.SOURCE, diff_python.TESTS_SOURCE)
    )
    parts = [
        f"# What changes for users since `{base}`",
        _verdict(versions, findings),
        *_reasons(findings),
        "## On the wire",
        _table(wire, "Where", "`openapi.yaml` says the same."),
        "## In Python",
        _table(python, "Name", "No public name, parameter or type changed."),
        "## The previous tests against the new code",
        f"mypy checked the {checked} files of `{base}` that use what is generated, with the code of then and with that "
        f"of now. New errors: {len(tests)}.",
        *([_table(tests, "Line", "")] if tests else []),
    ]
    return "\n\n".join(parts) + "\n"


def _verdict(versions: tuple[Version, Version], findings: list[Finding]) -> str:
    was, now = versions
    impact = worst(findings)
    allowed = lowest(was, impact)
    fits = "is enough" if now >= allowed else "is **too low**"
    lines = [
        f"- Kind of change: **{impact.word}** ({_MEANING[impact]})",
        f"- Lowest version allowed: **{spelled(allowed)}** after {spelled(was)}; `_version.py` says {spelled(now)}, "
        f"which {fits}",
        "- Found: " + ", ".join(f"{_count(findings, each)} {each.word}" for each in list(Impact)[:0:-1]),
    ]
    if was[0] == 0 and impact is not Impact.NONE:
        lines.append(
            "- Before 1.0.0 a major change asks for a new second number, a minor one or a patch for a new third"
        )
    return "\n".join(lines)


def _count(findings: Iterable[Finding], impact: Impact) -> int:
    return sum(finding.impact is impact for finding in findings)


def _reasons(findings: list[Finding]) -> list[str]:
    """The findings that the verdict stands on; the previous tests, which only confirm, where nothing else is there."""
    impact = worst(findings)
    if impact is Impact.NONE:
        return []
    gravest = [finding for finding in findings if finding.impact is impact]
    first = [finding for finding in gravest if finding.source != diff_python.TESTS_SOURCE] or gravest
    lines = [f"- {_code(finding.place)} ({finding.source}): {finding.what.rstrip('.')}" for finding in first[:_MOST]]
    if len(gravest) > len(lines):
        lines.append(f"- and {len(gravest) - len(lines)} more below")
    return [f"## Why {impact.word}", "\n".join(lines)]


def _table(findings: list[Finding], place: str, nothing: str) -> str:
    if not findings:
        return nothing
    rows = [
        f"| {finding.impact.word} | {_code(finding.place)} | {_sentence(finding.what)} |".replace("\n", " ")
        for finding in findings
    ]
    return "\n".join([f"| Kind | {place} | What |", "| --- | --- | --- |", *rows])


def _code(place: str) -> str:
    return f"`{place}`"


def _sentence(what: str) -> str:
    return what.replace("|", "\\|").rstrip(".")


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
