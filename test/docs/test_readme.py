"""The README's Python, run as it stands, against the emulator in place of CyberSource's test host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cybersource_flex import FlexClient
from cybersource_flex.auth import JwtSharedSecret
from cybersource_flex.emulator import Emulator

README = (Path(__file__).resolve().parents[2] / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


def adapted(block: str, emulator: Emulator) -> str:
    """The block with the emulator's address and credentials where the README has CyberSource's and dots."""
    auth = emulator.auth
    for written, meant in (
        ('environment="test"', f'environment="{emulator.url}"'),
        ('host="https://apitest.cybersource.com"', f'host="{emulator.url}"'),
        ('"your_merchant_id"', repr(auth["merchant_id"])),
        ('key_id="..."', f"key_id={auth['key_id']!r}"),
        ('secret_key="..."', f"secret_key={auth['secret_key']!r}"),
        ("FlexClient.from_env()", f"FlexClient.from_env({emulator.environ!r})"),
    ):
        block = block.replace(written, meant)
    return block


def test_every_block_runs(emulator: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    auth = JwtSharedSecret(**emulator.auth)
    with FlexClient(auth, environment=emulator.url) as client:
        names: dict[str, Any] = {"auth": auth}
        for block in BLOCKS:
            if "jwt_from_the_page" in block:
                # What Microform would do in the browser.
                number = {"number": "4111111111111111", "expirationMonth": "12", "expirationYear": "2031"}
                names["jwt_from_the_page"] = client.tokenize(names["context"], {"card": number}).jwt
            if "get_public_key" in block:
                kid = next(r.target for r in emulator.requests if "public-keys" in r.target).rpartition("/")[2]
                block = block.replace('"3g"', repr(kid))
            if "with " not in block:
                names["client"] = client
            exec(compile(adapted(block, emulator), "README.md", "exec"), names)  # noqa: S102
    assert names["token"].masked_number == "XXXXXXXXXXXX1111"
    assert names["key"].kty == "RSA"
    assert capsys.readouterr().out.count("XXXXXXXXXXXX1111") == 2


def test_the_first_example_is_ten_lines() -> None:
    assert len(BLOCKS[0].rstrip().splitlines()) <= 10
