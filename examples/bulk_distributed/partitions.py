"""Tokenize one part of a file of cards: read its lines, send them, and append one result for each line to a file.

``dask_bulk`` and ``celery_bulk`` send a ``Partition``, which contains only paths and numbers, to worker processes. Each
worker reads its part of the input and writes the tokens itself, so neither goes through a scheduler or broker. All
machines need the same files, for example on a network file system, and the ``CYBERSOURCE_`` variables.
"""

from __future__ import annotations

import fcntl
import functools
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cybersource_flex.cards import card_types, is_luhn_valid
from cybersource_flex.client import FlexClient, TokenizeResult
from cybersource_flex.errors import ApiException, CallError, FlexError

__all__ = ["Partition", "plan", "tokenize_partition"]

Row = dict[str, Any]


@dataclass(frozen=True)
class Partition:
    """One part of the input. Contains no card data and no secret, so that it can be sent through a scheduler or broker.

    Attributes:
        input: path of the file of cards, the same on all machines.
        output: path of the folder for the results, the same on all machines.
        number: number of the partition, from 0.
        start: offset of its first byte in the input. A line belongs to the partition in which it begins.
        end: offset after its last byte.
        merchant: id of the merchant that the tokens are for, if the credentials are a meta key. None for the merchant
            of the environment variables.
        concurrency: number of cards that are processed at the same time.
        retry_failed: whether to send lines again that failed in an earlier run.
    """

    input: str
    output: str
    number: int
    start: int
    end: int
    merchant: str | None = None
    concurrency: int = 16
    retry_failed: bool = False


def plan(
    input: Path, output: Path, *, partition_bytes: int = 65_536, merchant: str | None = None, **options: Any
) -> list[Partition]:
    """Divide the input into partitions. Only the size of the input is read.

    Results belong to the offset of a line. ``plan.json`` in the output folder records the input, so that the folder is
    not used for another input or after the input was changed.

    Raises:
        SystemExit: the output folder belongs to another input, partition size or merchant.
    """
    input, output = input.resolve(), output.resolve()
    size, modified = input.stat().st_size, input.stat().st_mtime_ns
    facts = {"input": input.name, "size": size, "modified_ns": modified}
    facts |= {"partition_bytes": partition_bytes, "merchant": merchant}
    output.mkdir(mode=0o700, parents=True, exist_ok=True)
    record = output / "plan.json"
    if not record.exists():
        record.write_text(json.dumps(facts) + "\n", "utf-8")
    recorded = json.loads(record.read_text("utf-8"))
    if recorded != facts:
        names = ", ".join(name for name in facts if recorded.get(name) != facts[name])
        raise SystemExit(f"{output} has the results of another run (different {names}); use another folder")
    return [
        Partition(str(input), str(output), number, start, min(start + partition_bytes, size), merchant, **options)
        for number, start in enumerate(range(0, size, partition_bytes))
    ]


@functools.cache
def flex_client() -> FlexClient:
    """Return the client of this process. It is created from environment variables, so no credentials are sent to it."""
    return FlexClient.from_env()


def tokenize_partition(partition: Partition) -> dict[str, int]:
    """Tokenize the lines of a partition that have no result yet.

    Returns:
        The number of ``lines`` of the partition, and how many of these have tokens (``tokens``), have an error
        (``failed``), may have been tokenized twice (``possibly_repeated``), and were sent by this call (``sent``).
    """
    client = flex_client()
    if partition.merchant is not None:
        client = client.for_merchant(partition.merchant)
    # The offset and id of each item that was started, by the item's index.
    started: dict[int, tuple[int, Any]] = {}
    path = Path(partition.output, f"part-{partition.number:05}")
    with (
        closing(LineFile(path.with_suffix(".started"))) as started_file,
        closing(LineFile(path.with_suffix(".ndjson"))) as result_file,
    ):
        results = Results(started_file, result_file, retry_failed=partition.retry_failed)

        def items() -> Iterator[Row]:
            indexes = itertools.count()
            for offset, line in read_lines(partition):
                if results.is_done(offset):
                    continue
                line_id, data = parse(line)
                if data is None:
                    message = "expected a JSON object with an id and the data of a card"
                    results.add(offset, None, {"error": "InvalidLine", "message": message})
                    continue
                results.start(offset)
                started[next(indexes)] = offset, line_id
                yield data

        sent = 0
        with closing(client.tokenize_many(items(), concurrency=partition.concurrency, ordered=False)) as batch:
            for result in batch:
                sent += 1
                results.add(*started.pop(result.index), describe(result))
        return {**results.counts(), "sent": sent}


def read_lines(partition: Partition) -> Iterator[tuple[int, bytes]]:
    """Yield each line that begins in the partition and is not blank, with its offset in the input."""
    with open(partition.input, "rb") as file:
        if partition.start:
            # The rest of a line that began earlier belongs to an earlier partition.
            file.seek(partition.start - 1)
            file.readline()
        while (offset := file.tell()) < partition.end and (line := file.readline()):
            if line.strip():
                yield offset, line


def parse(line: bytes) -> tuple[Any, Row | None]:
    """Return the id and the data of a line. The data is None if the line is invalid."""
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None, None
    line_id = data.pop("id", None) if isinstance(data, dict) else None
    if not isinstance(line_id, (int, str)) or looks_like_card_number(str(line_id)):
        return None, None
    return line_id, data


def looks_like_card_number(string: str) -> bool:
    """Return whether an id could be a card number by mistake. Ids are written to the results."""
    numbers = (re.sub("[ -]", "", match) for match in re.findall(r"\d[\d -]{10,}\d", string))
    return any(is_luhn_valid(number) and card_types(number) for number in numbers)


def describe(result: TokenizeResult) -> Row:
    """Return the token and its facts, or the error without card data."""
    if result.error is None:
        token = result.token
        return {"token": token.jwt, "expires_at": round(token.expires_at.timestamp()), "jti": token.jti}
    error = result.error
    row: Row = {"error": type(error).__name__}
    if isinstance(error, FlexError):
        # The messages of the SDK contain no card data. The messages of other exceptions may.
        row["message"] = str(error)
    if isinstance(error, CallError):
        row["outcome"] = error.outcome
    if isinstance(error, ApiException):
        row["correlation_id"] = error.correlation_id
    return row


class Results:
    """The results of a partition, in two files in the output folder.

    ``part-00000.ndjson`` has the results. ``part-00000.started`` has the offset of each line that was started, written
    before the line is sent. A line that was started and has no result was in progress when a process was killed: it may
    have been tokenized. It is sent again, and its result is marked with ``possibly_repeated``.
    """

    def __init__(self, started: LineFile, results: LineFile, *, retry_failed: bool) -> None:
        self._started = started
        self._results = results
        self._retry_failed = retry_failed
        # How often each line was started. If a line has more than one result, the last one counts.
        self._attempts = Counter(map(int, started.lines))
        self._rows: dict[int, Row] = {row["offset"]: row for row in map(json.loads, results.lines)}
        self._earlier = dict(self._rows)
        finished = {offset: row["attempt"] for offset, row in self._rows.items()}
        self._interrupted = {offset for offset, count in self._attempts.items() if count > finished.get(offset, 0)}

    def is_done(self, offset: int) -> bool:
        """Return whether a line has a result from an earlier run and need not be sent."""
        row = self._earlier.get(offset)
        return row is not None and offset not in self._interrupted and not ("error" in row and self._retry_failed)

    def start(self, offset: int) -> None:
        """Record that a line will be sent."""
        self._started.append(str(offset))
        self._attempts[offset] += 1

    def add(self, offset: int, line_id: Any, outcome: Row) -> None:
        """Write the result of a line."""
        row = {"offset": offset, "id": line_id, "attempt": self._attempts[offset], **outcome}
        earlier = self._earlier.get(offset, {})
        # With these outcomes, the host may have created a token for the failed call.
        maybe_created = earlier.get("outcome") in ("unknown", "accepted") or "possibly_repeated" in earlier
        if maybe_created or offset in self._interrupted:
            row["possibly_repeated"] = True
        self._results.append(json.dumps(row))
        self._rows[offset] = row

    def counts(self) -> dict[str, int]:
        rows = self._rows.values()
        return {
            "lines": len(rows),
            "tokens": sum("token" in row for row in rows),
            "failed": sum("error" in row for row in rows),
            "possibly_repeated": sum("possibly_repeated" in row for row in rows),
        }


class LineFile:
    """A file to which lines are appended. Only its owner can read it. An incomplete last line is removed.

    The file is locked until it is closed or its process ends. So only one process works on a partition, even if it was
    assigned to two: the second one waits, and then has only the remaining lines to do.

    Attributes:
        lines: the lines that the file had when it was opened.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+b", buffering=0)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        complete, _, incomplete = self._file.read().rpartition(b"\n")
        if incomplete:
            self._file.truncate(len(complete) + bool(complete))
        self.lines = complete.splitlines()

    def append(self, line: str) -> None:
        data = line.encode() + b"\n"
        if self._file.write(data) != len(data):
            raise OSError("a line was not written completely; is the disk full?")

    def close(self) -> None:
        os.fsync(self._file.fileno())
        self._file.close()
