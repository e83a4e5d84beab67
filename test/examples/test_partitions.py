"""One partition: which lines it has, what it writes, and what is sent again after an interruption."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cybersource_flex import FlexClient
from cybersource_flex.emulator import Emulator, Merchant

from .conftest import Run


@pytest.fixture
def partitions(run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module, with the emulator's variables in the environment and cards.ndjson in the working folder."""
    import partitions

    monkeypatch.chdir(run.folder)
    for name, value in run.emulator.environ.items():
        monkeypatch.setenv(name, value)
    partitions.flex_client.cache_clear()
    yield partitions
    partitions.flex_client().close()
    partitions.flex_client.cache_clear()


def plan(partitions: Any, **options: Any) -> Any:
    return partitions.plan(Path("cards.ndjson"), Path("tokens"), **options)


def only_partition(partitions: Any, **options: Any) -> Any:
    (partition,) = plan(partitions, **options)
    return partition


def test_each_line_belongs_to_one_partition_wherever_it_is_divided(partitions: Any, run: Run) -> None:
    run.write_cards(0)
    lines = [b'{"id": 1}\n', b"\n", b'{"id": 22222222222222222}\n', b" \n", b'{"id": "\xc3\xa4"}\n', b'{"id": 4}']
    Path("cards.ndjson").write_bytes(b"".join(lines))
    offsets = [(sum(map(len, lines[:index])), line) for index, line in enumerate(lines) if line.strip()]
    for size in range(1, sum(map(len, lines)) + 2):
        parts = partitions.plan(Path("cards.ndjson"), Path(f"tokens-{size}"), partition_bytes=size)
        assert [entry for part in parts for entry in partitions.read_lines(part)] == offsets


def test_each_result_has_the_offset_and_id_of_its_line(partitions: Any, run: Run) -> None:
    run.write_cards(5)
    counts = partitions.tokenize_partition(only_partition(partitions))
    assert counts == {"lines": 5, "tokens": 5, "failed": 0, "possibly_repeated": 0, "sent": 5}
    lines = Path("cards.ndjson").read_bytes().splitlines(keepends=True)
    for index, row in enumerate(run.tokens()):
        assert list(row) == ["offset", "id", "attempt", "token", "expires_at", "jti"]
        assert row["offset"] == sum(map(len, lines[:index]))
    assert {path.stat().st_mode & 0o077 for path in Path("tokens").iterdir() if path.name != "plan.json"} == {0}


def test_failed_and_invalid_lines_are_results_without_card_data(partitions: Any, run: Run) -> None:
    run.write_cards(2)
    number = run.numbers[0]
    with Path("cards.ndjson").open("a") as file:
        for line in (
            f"{number}",
            f'{{"id": "broken", "card": {{"number": "{number}"',
            f'{{"card": {{"number": "{number}"}}}}',
            f'{{"id": "{number[:4]} {number[4:]}", "card": {{"number": "{number}"}}}}',
            "[" * 100_000,
            f'{{"id": "unknown field", "card": {{"{number}": "1"}}}}',
            f'{{"id": "not an object", "card": "{number}"}}',
            f'{{"id": "rejected", "card": {{"number": "{number}", "expirationMonth": "{number}"}}}}',
        ):
            file.write(line + "\n")
    partition = only_partition(partitions, partition_bytes=1_000_000)
    counts = partitions.tokenize_partition(partition)
    assert counts == {"lines": 10, "tokens": 2, "failed": 8, "possibly_repeated": 0, "sent": 5}
    rows = [json.loads(line) for line in Path("tokens/part-00000.ndjson").read_text().splitlines()]
    errors = {row["id"]: row["error"] for row in rows if row["id"] is not None and "error" in row}
    assert errors == {
        "unknown field": "InvalidDataError",
        "not an object": "InvalidDataError",
        "rejected": "BadRequestError",
    }
    assert [row["error"] for row in rows if row["id"] is None] == ["InvalidLine"] * 5
    (rejected,) = [row for row in rows if row["id"] == "rejected"]
    assert rejected["outcome"] == "rejected"
    assert rejected["correlation_id"]
    again = partitions.tokenize_partition(partition)
    assert again == {**counts, "sent": 0}


def test_failed_lines_are_sent_again_on_request(partitions: Any, run: Run) -> None:
    run.write_cards(3)
    run.emulator.queue_scenarios(["status-500"], path="/flex/v2/tokens")
    partition = only_partition(partitions, concurrency=1)
    assert partitions.tokenize_partition(partition)["failed"] == 1
    counts = partitions.tokenize_partition(replace(partition, retry_failed=True))
    assert counts["tokens"] == 3
    assert counts["sent"] == 1


def test_a_repeated_line_is_marked_if_its_first_call_may_have_had_an_effect(partitions: Any, run: Run) -> None:
    run.write_cards(3)
    run.emulator.queue_scenarios(["reset-after-request"], path="/flex/v2/tokens")
    partition = only_partition(partitions, concurrency=1)
    partitions.tokenize_partition(partition)
    counts = partitions.tokenize_partition(replace(partition, retry_failed=True))
    assert counts == {"lines": 3, "tokens": 3, "failed": 0, "possibly_repeated": 1, "sent": 1}
    assert run.count_tokens() == 4


@pytest.mark.parametrize("remains", [b"", b"{", b'{"offset": 1'])
def test_an_interrupted_line_is_sent_again_and_marked(partitions: Any, run: Run, remains: bytes) -> None:
    run.write_cards(4)
    partition = only_partition(partitions)
    partitions.tokenize_partition(partition)
    path = Path("tokens/part-00000.ndjson")
    complete = path.read_bytes().splitlines(keepends=True)[:-1]
    path.write_bytes(b"".join(complete) + remains)
    counts = partitions.tokenize_partition(partition)
    assert counts == {"lines": 4, "tokens": 4, "failed": 0, "possibly_repeated": 1, "sent": 1}
    assert path.read_bytes().startswith(b"".join(complete))
    assert [row.get("possibly_repeated", False) for row in run.tokens()].count(True) == 1
    assert partitions.tokenize_partition(partition) == {**counts, "sent": 0}


def test_two_workers_with_the_same_partition_send_each_line_once(partitions: Any, run: Run) -> None:
    run.write_cards(20)
    partition = only_partition(partitions, concurrency=2)
    counts: list[dict[str, int]] = []
    workers = [
        threading.Thread(target=lambda: counts.append(partitions.tokenize_partition(partition))) for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(count["sent"] for count in counts) == [0, 20]
    assert run.count_tokens() == 20
    assert all("possibly_repeated" not in row for row in run.tokens())


def test_a_folder_is_not_used_for_another_input(partitions: Any, run: Run) -> None:
    run.write_cards(2)
    plan(partitions)
    with pytest.raises(SystemExit, match="different partition_bytes"):
        plan(partitions, partition_bytes=100)
    with pytest.raises(SystemExit, match="different merchant"):
        plan(partitions, merchant="shop")
    run.write_cards(3)
    with pytest.raises(SystemExit, match="different size, modified_ns"):
        plan(partitions)


def test_tokens_for_another_merchant(partitions: Any, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.write_cards(3)
    shop = Merchant.generate("shop_one", portfolio_id="group")
    other = replace(shop, merchant_id="shop_two")
    with Emulator(merchants=[shop, other]) as emulator:
        for name, value in emulator.environ.items():
            monkeypatch.setenv(name, value)
        partitions.tokenize_partition(only_partition(partitions, merchant="shop_two"))
        assert {record.merchant_id for record in emulator.requests if record.merchant_id} == {"shop_two"}
    assert len(run.tokens()) == 3


def test_a_partition_does_not_contain_the_client(partitions: Any, run: Run) -> None:
    run.write_cards(1)
    assert isinstance(partitions.flex_client(), FlexClient)
    run.canaries.watch(only_partition(partitions))
