"""Report what the working tree changes for users since an earlier commit, and which version that allows.

    python tools/spec_report.py report --base v1.2.0 [--out build/spec-report.md]
    python tools/spec_report.py check  --base v1.2.0    fail if the version is too low or missing in the changelog
    python tools/spec_report.py check  --tag v1.3.0     the same since the tag before, for a version with this tag

Three comparisons: the specifications (redocly), the public Python APIs (griffe), and the earlier tests with the current
code (mypy). The finding with the highest impact decides. Both trees are copied first; neither is modified.
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

import redocly
from comparison import diff_names, diff_openapi, diff_python, semver_impact
from comparison.semver_impact import Finding, Impact, Version, format_version, lowest, worst
from generation.python_names import Names, exported_classes, python_names
from openapi import supported_openapi
from openapi.document import Document
from openapi.schema_usage import directions

ROOT: Final = Path(__file__).resolve().parent.parent

_MEANING: Final = {
    Impact.NONE: "nothing that users can see",
    Impact.PATCH: "only words, or nothing that a program notices",
    Impact.MINOR: "something new; existing programs keep working",
    Impact.MAJOR: "existing programs may have to be changed",
}
_MOST: Final = 12


class ReportError(Exception):
    """The report cannot be written. The message says why."""


def main(arguments: list[str], root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(prog="spec_report.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("verb", choices=["report", "check"])
    parser.add_argument("--base", help="commit, tag or branch to compare with; default: the tag before --tag")
    parser.add_argument("--tag", help="tag of the release, v1.3.0; the version must be that of the tag")
    parser.add_argument("--out", type=Path, default=Path("build", "spec-report.md"), help="the file to write")
    options = parser.parse_args(arguments)
    if options.base is None and (options.tag is None or options.verb == "report"):
        tag = ", or the new tag (TAG=v0.2.0)" if options.verb == "check" else ""
        parser.error(f"name the commit to compare with (BASE=v0.1.0){tag}")
    try:
        if options.tag is not None:
            check_tag(root, options.tag)
            options.base = options.base or previous_tag(root, options.tag)
        if options.base is None:
            print(f"release-check: {options.tag} is the first release")
            return 0
        with tempfile.TemporaryDirectory(prefix="spec-report-") as name:
            before, after = Path(name, "before"), Path(name, "after")
            export_commit(root, options.base, before)
            export_working_tree(root, after)
            if options.verb == "check":
                return check(before, after, options.base)
            return report(before, after, options.base, root / options.out)
    except (ReportError, redocly.RedoclyError, diff_python.MypyError, semver_impact.VersionError) as error:
        print(f"spec-report: {error}", file=sys.stderr)
        return 1


def report(before: Path, after: Path, base: str, out: Path) -> int:
    """Write the page and print its path."""
    changes = findings(before, after)
    tests, checked = diff_python.previous_test_findings(before, after)
    content = page(
        base=base,
        versions=(semver_impact.version(before), semver_impact.version(after)),
        findings=[*changes, *tests],
        checked=checked,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(content.encode("utf-8"))
    impact = worst([*changes, *tests])
    print(f"spec-report: {impact.word}; the page is {out}")
    return 0


def check(before: Path, after: Path, base: str) -> int:
    """Fail if the version is too low for the changes, or the changelog has no section for it."""
    changes = [*findings(before, after), *diff_python.previous_test_findings(before, after)[0]]
    problems = release_problems(before, after, worst(changes))
    for problem in problems:
        print(f"release-check: {problem}", file=sys.stderr)
    if problems:
        print(f"  `make spec-report BASE={base}` says why", file=sys.stderr)
        return 1
    print(f"release-check: {format_version(semver_impact.version(after))} may follow {base}")
    return 0


def check_tag(root: Path, tag: str) -> None:
    """Check that a tag names the version of the working tree, and that the changelog has a section for it.

    Raises:
        ReportError: one of them is not so.
    """
    now = semver_impact.version(root)
    if tag != f"v{format_version(now)}":
        raise ReportError(f"the tag is {tag}, but {semver_impact.VERSION_FILE} says {format_version(now)}")
    if not semver_impact.has_section((root / "CHANGELOG.md").read_text(encoding="utf-8"), now):
        raise ReportError(f"CHANGELOG.md has no section {format_version(now)}, or nothing in it")


def previous_tag(root: Path, tag: str) -> str | None:
    """The tag of the release before this one, or None for the first release.

    Raises:
        ReportError: the tag does not exist, or the tag before it cannot be determined.
    """
    if _git(root, "rev-parse", "--verify", "--quiet", f"refs/tags/{tag}^{{commit}}").returncode:
        raise ReportError(f"there is no tag {tag}")
    if _git(root, "rev-parse", "--is-shallow-repository").stdout.strip() == b"true":
        raise ReportError("the clone is shallow, so earlier tags may be missing; fetch the complete history")
    described = _git(root, "describe", "--tags", "--abbrev=0", "--match=v[0-9]*", f"refs/tags/{tag}^{{commit}}^")
    if described.returncode == 0:
        return described.stdout.decode("utf-8").strip()
    others = set(_git(root, "tag", "--list", "v[0-9]*").stdout.decode("utf-8").split()) - {tag}
    if others:
        raise ReportError(f"no earlier release is an ancestor of {tag}; name the one to compare with: BASE=<tag>")
    return None


def findings(before: Path, after: Path) -> list[Finding]:
    """The changes on the wire and in Python between two source trees of the project."""
    for tree in (before, after):
        for needed in ("openapi.yaml", semver_impact.VERSION_FILE):
            if not (tree / needed).is_file():
                raise ReportError(f"one of the two trees has no {needed}; compare with a later commit")
    return [
        *diff_openapi.findings(before / "openapi.yaml", after / "openapi.yaml"),
        *python_findings(before, after),
    ]


def python_findings(before: Path, after: Path) -> list[Finding]:
    """The changes of the public Python API, and the names that now mean another thing of the specification."""
    old, new = read_names(before), read_names(after)
    usage = usage_of_models(*new) if new else diff_python.Usage()
    changes = diff_python.findings(before, after, usage)
    return [*diff_names.findings(old, new), *changes] if old and new else changes


def read_names(tree: Path) -> tuple[Document, Names] | None:
    """The specification of a source tree and its names in Python, or None if the templates do not support it."""
    specification, problems = supported_openapi.read((tree / "openapi.yaml").read_text(encoding="utf-8"))
    if problems:
        return None
    document = specification.document
    return document, python_names(document, exported_classes(tree / "cybersource_flex"))


def usage_of_models(document: Document, names: Names) -> diff_python.Usage:
    """The models that only requests or only responses contain."""
    used = directions(document)
    written, read = (
        frozenset(names.classes[title] for title in titles if title in names.classes)
        for titles in (used.sent - used.read, used.read - used.sent)
    )
    return diff_python.Usage(written, read)


def release_problems(before: Path, after: Path, impact: Impact) -> list[str]:
    """The reasons not to release ``after`` with its version."""
    was, now = semver_impact.version(before), semver_impact.version(after)
    # A release without any visible change still needs a new version.
    allowed = lowest(was, max(impact, Impact.PATCH))
    problems = []
    if now < allowed:
        problems.append(
            f"kind of change since {format_version(was)}: {impact.word}; {semver_impact.VERSION_FILE} says "
            f"{format_version(now)}, the lowest version allowed is {format_version(allowed)}"
        )
    if not semver_impact.has_section((after / "CHANGELOG.md").read_text(encoding="utf-8"), now):
        problems.append(f"CHANGELOG.md has no section {format_version(now)}, or nothing in it")
    return problems


def page(*, base: str, versions: tuple[Version, Version], findings: list[Finding], checked: int) -> str:
    """The report in Markdown.

    Args:
        base: the commit that the working tree was compared with, as given on the command line.
        versions: the earlier and the current version.
        findings: the changes from all sources.
        checked: the number of earlier test files that were checked.
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
        f"mypy checked the {checked} files of `{base}` that use generated code, with the code of `{base}` and with "
        f"the current code. New errors: {len(tests)}.",
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
        f"- Lowest version allowed: **{format_version(allowed)}** after {format_version(was)}; `_version.py` says "
        f"{format_version(now)}, which {fits}",
        "- Found: " + ", ".join(f"{_count(findings, each)} {each.word}" for each in list(Impact)[:0:-1]),
    ]
    if was[0] == 0 and impact is not Impact.NONE:
        lines.append(
            "- Before 1.0.0 a major change needs a new second number, a minor change or a patch a new third number"
        )
    return "\n".join(lines)


def _count(findings: Iterable[Finding], impact: Impact) -> int:
    return sum(finding.impact is impact for finding in findings)


def _reasons(findings: list[Finding]) -> list[str]:
    """The findings that decide the impact. Those of the previous tests are files only if there are no others."""
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
    """Write the files of a commit to a folder.

    Raises:
        ReportError: there is no such commit.
    """
    if not base:
        raise ReportError("name the commit to compare with, for example BASE=v0.1.0 or BASE=main")
    if base.startswith("-") or _git(root, "rev-parse", "--verify", "--quiet", f"{base}^{{commit}}").returncode:
        raise ReportError(f"BASE={base} is not a commit; `git tag` and `git log --oneline` list commits")
    archive = _git(root, "archive", "--format=tar", base)
    if archive.returncode:
        raise ReportError(f"git archive failed: {archive.stderr.decode('utf-8', 'replace').strip()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")


def export_working_tree(root: Path, folder: Path) -> None:
    """Copy the files of the working tree, committed or not, except those that git ignores."""
    files = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").stdout.decode("utf-8")
    for name in filter(None, files.split("\0")):
        if (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, folder / name)


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
