"""Tokenize a file of cards on Celery workers, with Redis as broker, one partition per task."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from typing import Any

from celery import Celery, group

import command_line
from partitions import Partition, tokenize_partition

REDIS = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")

app = Celery("celery_bulk", broker=REDIS, backend=REDIS)
app.conf.update(
    # A partition whose worker process is killed is done again, by another process.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    # Other workers can take the partitions that wait.
    worker_prefetch_multiplier=1,
    # If a whole machine is lost, its partitions are assigned again after this many seconds.
    broker_transport_options={"visibility_timeout": 3600},
    result_expires=3600,
    broker_connection_retry_on_startup=True,
)


@app.task
def tokenize(partition: dict[str, Any]) -> dict[str, int]:
    return tokenize_partition(Partition(**partition))


def main() -> int:
    parts = command_line.partitions_of(command_line.parser(__doc__).parse_args())
    results = group(tokenize.s(asdict(part)) for part in parts).apply_async()
    return command_line.report(result.get(propagate=False) for result in results)


if __name__ == "__main__":
    sys.exit(main())
