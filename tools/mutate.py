"""Mutation testing: change the code in one place at a time, and see whether a test notices.

    python tools/mutate.py                            1,500 mutants of all modules
    python tools/mutate.py --group jose --sample 0    all mutants of one group

Writes .mutation/report.md, .mutation/results.json and the coverage of each test. Needs fork(): Linux or macOS.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from mutation import report
from mutation.mutants import Mutant, Result
from mutation.operators import create
from mutation.runner import COVERAGE, Slot, copy_tree, mutated, preload, record_coverage, share_bytecode
from mutation.sample import GROUPS, modules, repeated, sample, test_files
from mutation.selection import CoverageMap

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".mutation"

# First the tests that say most. If none of them fails, more of those that cover the place, when all others have run.
FIRST = {"count": 30, "files": 4, "seconds": 4.0, "fixture_seconds": 4.0}
ALL = {"count": 300, "files": 30, "seconds": 15.0, "fixture_seconds": 200.0}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=1500, help="how many mutants; 0: all (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="selects the sample (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time (default: %(default)s)")
    parser.add_argument("--group", action="append", choices=GROUPS, help="only these groups of modules")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--survivors", action="store_true", help="test those again that survived the last run")
    again.add_argument("--only", nargs="+", metavar="ID", help="test these again, by their ids in the report")
    parser.add_argument("--record", nargs="+", metavar="FILE", help="record the coverage of these test files again")
    arguments = parser.parse_args()
    repeats = bool(arguments.survivors or arguments.only)
    if (repeats or arguments.record) and not (FOLDER / COVERAGE).exists():
        parser.error(f"--survivors, --only and --record need an earlier run: there is no {FOLDER / COVERAGE}")

    started = time.monotonic()
    tree = FOLDER / "tree-1"
    FOLDER.mkdir(exist_ok=True)
    copy_tree(ROOT, tree)
    mutants = {
        group: [mutant for module in modules(tree, group) for mutant in create(tree, module)]
        for group in arguments.group or GROUPS
    }
    if repeats:
        previous = report.read(FOLDER, mutants)
        try:
            chosen, results = repeated(mutants, previous, arguments.only)
        except ValueError as error:
            parser.error(str(error))
    else:
        previous, results = {}, {}
        chosen = sample(mutants, arguments.sample, arguments.seed)
    for group, some in chosen.items():
        to_test = sum(mutant not in results for mutant in some)
        print(f"{group}: {to_test} of {len(mutants[group])} mutants", flush=True)

    preload()
    trees = [tree, *(FOLDER / f"tree-{number}" for number in range(2, arguments.jobs + 1))]
    for other in trees[1:]:
        copy_tree(ROOT, other)
    if arguments.record or not repeats:
        source = [name for paths in GROUPS.values() for name in paths]
        for file in record_coverage(
            trees, FOLDER, source, arguments.record or test_files(tree), keep=bool(arguments.record)
        ):
            print(f"not used, because its tests did not run to the end: {file}")
        print(f"recorded the coverage in {time.monotonic() - started:.0f} s", flush=True)
    share_bytecode(trees)
    coverage = CoverageMap(tree, FOLDER / COVERAGE)
    for test, outcome in coverage.failed.items():
        if outcome == "failed":
            print(f"not used, because it fails without a mutant: {test}")
    survived = {mutant for mutant, result in previous.items() if result.outcome == "survived"}
    queue = [(mutant, mutant in survived) for some in chosen.values() for mutant in some if mutant not in results]
    # Those that no test has noticed yet come last.
    queue.sort(key=lambda entry: entry[1])
    total = len(results) + len(queue)
    slots = [Slot(tree) for tree in trees]
    while queue or any(slot.job for slot in slots):
        for slot in slots:
            if slot.job is None and queue:
                _start(slot, *queue.pop(0), coverage, results)
            elif slot.job is not None:
                result = slot.poll()
                if result is None:
                    continue
                mutant, again, complete = slot.job
                slot.restore.__exit__(None, None, None)
                slot.job = None
                if mutant in results:
                    result.ran += results[mutant].ran
                    result.seconds += results[mutant].seconds
                results[mutant] = result
                if result.outcome == "survived" and not again and not complete:
                    queue.append((mutant, True))
                    print(
                        f"not killed yet: {mutant.identifier} {mutant.file}:{mutant.line} {mutant.function}", flush=True
                    )
                elif result.outcome != "killed":
                    print(f"{result.outcome}: {mutant.file}:{mutant.line} {mutant.function}", flush=True)
                if len(results) % 20 == 0:
                    print(f"{len(results)}/{total} after {time.monotonic() - started:.0f} s", flush=True)
                    report.save(FOLDER, chosen, results)
        time.sleep(0.005)
    heading = f"Seed {arguments.seed}; {len(results)} mutants in {(time.monotonic() - started) / 60:.0f} minutes."
    equivalents = report.read_equivalents(ROOT / report.EQUIVALENTS)
    print(report.write(FOLDER, chosen, mutants, results, equivalents, heading))
    return 0


def _start(
    slot: Slot,
    mutant: Mutant,
    again: bool,
    coverage: CoverageMap,
    results: dict[Mutant, Result],
) -> None:
    selection = coverage.select(mutant.file, mutant.line, **(ALL if again else FIRST))
    if not selection.tests and not again:
        selection = coverage.select(mutant.file, mutant.line, **ALL)
    if not selection.tests:
        results[mutant] = Result("survived", why="no test covers it")
        print(f"not covered: {mutant.file}:{mutant.line} {mutant.function}", flush=True)
        return
    slot.restore = mutated(slot.tree, mutant.file, mutant.apply((slot.tree / mutant.file).read_text("utf-8")))
    slot.restore.__enter__()
    limit = 12 + 4 * selection.seconds + 0.3 * len(selection.files)
    slot.start((mutant, again, selection.complete), selection.files, selection.tests, limit)


if __name__ == "__main__":
    sys.exit(main())
