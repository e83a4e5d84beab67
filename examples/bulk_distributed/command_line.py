"""Options and output of the programs ``dask_bulk`` and ``celery_bulk``."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from partitions import Partition, plan

__all__ = ["parser", "partitions_of", "report"]


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options of both programs."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("input", type=Path, help="file of cards, one JSON object per line")
    options.add_argument("output", type=Path, help="folder for the results")
    options.add_argument("--merchant", help="id of the merchant that the tokens are for, with a meta key")
    options.add_argument("--partition-bytes", type=int, default=65_536, help="size of a partition (%(default)s)")
    options.add_argument("--concurrency", type=int, default=16, help="cards at a time in each process (%(default)s)")
    options.add_argument("--retry-failed", action="store_true", help="send lines again that failed in an earlier run")
    return options


def partitions_of(options: argparse.Namespace) -> list[Partition]:
    return plan(
        options.input,
        options.output,
        partition_bytes=options.partition_bytes,
        merchant=options.merchant,
        concurrency=options.concurrency,
        retry_failed=options.retry_failed,
    )


def report(outcomes: Iterable[dict[str, int] | BaseException]) -> int:
    """Print a summary of the partitions when all have ended: the counts of each, or the error that ended it.

    Returns:
        The exit code: 0 if each line has a token, otherwise 1.
    """
    total, errors = Counter[str](), Counter[str]()
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            errors[f"{type(outcome).__name__}: {outcome}"] += 1
        else:
            total.update(outcome)
    print(
        f"{total['lines']} lines: {total['tokens']} with a token, {total['failed']} failed; "
        f"{total['possibly_repeated']} possibly tokenized twice"
    )
    for error, count in errors.items():
        print(f"partitions not completed: {count}; {error}", file=sys.stderr)
    if errors:
        print("run the same command again to resume", file=sys.stderr)
    return 1 if errors or total["failed"] else 0
