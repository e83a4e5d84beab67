"""Tokenize a file of cards on a Dask cluster, one partition per task."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack

from distributed import Client, LocalCluster, as_completed

import command_line
import partitions


def main() -> int:
    parser = command_line.parser(__doc__)
    parser.add_argument("--scheduler", help="address of a scheduler; if missing, a local cluster is started")
    parser.add_argument("--workers", type=int, default=2, help="processes of the local cluster (%(default)s)")
    options = parser.parse_args()
    parts = command_line.partitions_of(options)
    with ExitStack() as stack:
        address = options.scheduler or stack.enter_context(
            # Each worker runs one partition at a time. `tokenize_many` has its own threads.
            LocalCluster(n_workers=options.workers, threads_per_worker=1, dashboard_address="127.0.0.1:0")
        )
        client = stack.enter_context(Client(address))
        if options.scheduler:
            # Workers on other machines do not have this module.
            client.upload_file(partitions.__file__)
        return command_line.report(run(client, parts))


def run(client: Client, parts: list[partitions.Partition]) -> Iterator[dict[str, int] | BaseException]:
    """Yield the counts or the error of each partition, in the order in which they end.

    If a worker is killed, Dask assigns its partition to another worker, at most three times.
    """
    # Not pure: a second run must not get the counts of the first one.
    for future in as_completed(client.map(partitions.tokenize_partition, parts, pure=False)):
        yield future.exception() or future.result()
        future.release()


if __name__ == "__main__":
    sys.exit(main())
