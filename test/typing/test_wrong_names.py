"""Type checkers report names that the package does not have, although it imports its names on first use."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.type_checkers import TYPE_CHECKERS

PACKAGES = ["", ".aio", ".api", ".auth", ".cards", ".client", ".emulator", ".errors", ".jose", ".models", ".testing"]
PACKAGES += [".transport"]

WRONG = [
    *(f"from cybersource_flex{package} import NoSuchName" for package in PACKAGES),
    "import cybersource_flex; cybersource_flex.Nope",
    "import cybersource_flex.auth; cybersource_flex.auth.Nope",
    "from cybersource_flex import models; models.CardField",
    "from cybersource_flex import FlexClient; FlexClient(None).tokenise",
    "from cybersource_flex.models import CardFields; CardFields().numbr",
    "from cybersource_flex.client import TokenizeSuccess; TokenizeSuccess.tokn",
]
RIGHT = [
    "from cybersource_flex import *; FlexClient, fields, __version__",
    "from cybersource_flex.aio import AsyncApiClient, AsyncFlexAPIApi",
    "from cybersource_flex.auth import JwtP12, MessageLevelEncryption",
    "from cybersource_flex.client import AsyncFlexClient, TokenizeFailure, TokenizeResult, TokenizeSuccess",
    "from cybersource_flex.jose import KeyCache, PinnedKeys, verify_transient_token",
    "from cybersource_flex.models import CaptureFields, JsonWebKey",
    "from cybersource_flex.testing import Canaries, TokenFactory",
    "from cybersource_flex.transport import AsyncTransport, Configuration, Transport",
    "import cybersource_flex; cybersource_flex.FlexClient.from_env",
]


@pytest.mark.parametrize("checker", TYPE_CHECKERS)
def test_wrong_names_are_reported(checker: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text("\n".join([*WRONG, ""]))
    (tmp_path / "right.py").write_text("\n".join([*RIGHT, ""]))
    reports = TYPE_CHECKERS[checker](tmp_path)
    assert [report for report in reports if report.file == "right.py"] == []
    lines = {report.line for report in reports if report.file == "wrong.py"}
    assert [line for number, line in enumerate(WRONG, 1) if number not in lines] == []
