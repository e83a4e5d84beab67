"""docs/containers.md: the CI jobs run as they are written; the containers run as two machines, without Docker."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.emulator_command import make_environ
from support.network import SERVER, two_machines
from support.paths import ROOT

PAGE = (ROOT / "docs" / "containers.md").read_text("utf-8")
SHOP = """
from cybersource_flex import FlexClient, fields
with FlexClient.from_env() as client:
    context = client.create_capture_context(fields(card=["number"]))
    print(client.tokenize(context, {"card": {"number": "4111111111111111"}}).masked_number)
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def document(key: str) -> Any:
    """The YAML block with this key at its top."""
    (block,) = [content for content in map(yaml.safe_load, blocks("yaml")) if key in content]
    return block


def programs(folder: Path) -> dict[str, str]:
    """Variables with which shells find the programs `cybersource-flex` and `python` of the tests."""
    binaries = folder / "bin"
    binaries.mkdir()
    for name, command in {
        "cybersource-flex": [sys.executable, "-m", "cybersource_flex"],
        "python": [sys.executable],
    }.items():
        program = binaries / name
        program.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
    python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return make_environ(PATH=f"{binaries}{os.pathsep}{os.environ['PATH']}", PYTHONPATH=python_path)


def run_script(script: str, folder: Path, environ: dict[str, str]) -> str:
    """Run a step of a job. The emulator that it starts is ended by the caller, because it outlives the step."""
    output = folder / "step.log"
    with output.open("w", encoding="utf-8") as log:
        result = subprocess.run(
            ["bash", "-ec", script], cwd=folder, env=environ, stdout=log, stderr=log, timeout=120, check=False
        )
    content = output.read_text("utf-8")
    assert result.returncode == 0, content
    return content


@contextlib.contextmanager
def with_its_own_port(script: str, folder: Path, port: int) -> Iterator[str]:
    """The script with another port, and a line that records the process of the emulator. Ends it with SIGTERM."""
    start = re.search(r"^(cybersource-flex emulator .*&)$", script, re.MULTILINE)
    assert start is not None
    script = script.replace(start[1], f"{start[1]}\necho $! > emulator.pid").replace("8080", str(port))
    try:
        yield script
    finally:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((folder / "emulator.pid").read_text("ascii")), signal.SIGTERM)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


needs_posix = pytest.mark.skipif(os.name != "posix", reason="NOT TESTED: the jobs run in bash")


@needs_posix
def test_the_steps_for_github_actions(tmp_path: Path) -> None:
    """Each step is a separate process, and gets the variables that an earlier step wrote to the file of variables."""
    (job,) = document("jobs")["jobs"].values()
    assert job["permissions"] == {"contents": "read"}
    steps = [step for step in job["steps"] if "run" in step]
    install, start, check, show = steps
    assert install["run"].startswith("pip install 'cybersource-flex[cli,emulator]'")
    assert show["if"] == "failure()"
    file_of_variables = tmp_path / "github.env"
    environ = programs(tmp_path)
    with with_its_own_port(start["run"], tmp_path, free_port()) as script:
        run_script(script, tmp_path, {**environ, "GITHUB_ENV": str(file_of_variables)})
        variables = dict(line.split("=", 1) for line in file_of_variables.read_text("utf-8").splitlines())
        assert "no problems" in run_script(check["run"], tmp_path, {**environ, **variables}).lower()
        log = run_script(show["run"], tmp_path, environ)
    assert "POST /flex/v2/sessions 201" in log
    assert variables["CYBERSOURCE_SECRET_KEY"] not in log


@needs_posix
def test_the_script_for_gitlab(tmp_path: Path) -> None:
    """All lines run in one shell."""
    job = document("test")["test"]
    install, *lines = job["script"]
    assert install.startswith("pip install 'cybersource-flex[cli,emulator]'")
    environ = programs(tmp_path)
    with with_its_own_port("\n".join(lines), tmp_path, free_port()) as script:
        assert "no problems" in run_script(script, tmp_path, environ).lower()
        (artifact,) = job["artifacts"]["paths"]
        assert "POST /flex/v2/sessions 201" in (tmp_path / artifact).read_text("utf-8")


def dockerfile() -> dict[str, str]:
    """The instructions of the Dockerfile, by name. If one is repeated, the last one."""
    (content,) = blocks("dockerfile")
    lines = content.replace("\\\n", " ").splitlines()
    return dict(line.split(maxsplit=1) for line in lines)


def flex_env(folder: Path) -> dict[str, str]:
    """The file with the merchant and its secret, from the command on the page."""
    (command,) = [block for block in blocks("sh") if "> flex.env" in block]
    run_script(command, folder, dict(os.environ))
    return dict(line.split("=", 1) for line in (folder / "flex.env").read_text("ascii").splitlines())


@needs_posix
def test_the_command_that_generates_credentials(tmp_path: Path) -> None:
    first, second = flex_env(tmp_path), flex_env(tmp_path)
    assert first.keys() == {f"CYBERSOURCE_{name}" for name in ("MERCHANT_ID", "KEY_ID", "SECRET_KEY")}
    assert len(base64.b64decode(first["CYBERSOURCE_SECRET_KEY"], validate=True)) == 32
    assert first["CYBERSOURCE_SECRET_KEY"] != second["CYBERSOURCE_SECRET_KEY"]


def test_the_compose_file_matches_the_dockerfile() -> None:
    compose, instructions = document("services"), dockerfile()
    flex, shop = compose["services"]["flex"], compose["services"]["shop"]
    command = yaml.safe_load(instructions["CMD"])
    assert shop["environment"]["CYBERSOURCE_ENVIRONMENT"] == command[command.index("--public-url") + 1]
    assert shop["environment"]["CYBERSOURCE_CA_FILE"] == command[command.index("--ca-file") + 1]
    assert command[command.index("--port") + 1] == instructions["EXPOSE"]
    assert flex["env_file"] == shop["env_file"] == "flex.env"
    assert shop["depends_on"]["flex"]["condition"] == "service_healthy"
    # Only the emulator may write the volume.
    assert (flex["volumes"], shop["volumes"]) == (["flex:/flex"], ["flex:/flex:ro"])
    assert compose["volumes"].keys() == {"flex"}
    assert instructions["USER"] == "nobody"


def test_the_containers_as_two_machines(tmp_path: Path) -> None:
    """The command of the Dockerfile, the health check and the shop's variables. The volume is a folder of the test."""
    compose, command = document("services")["services"], yaml.safe_load(dockerfile()["CMD"])
    credentials = flex_env(tmp_path)
    volume = tmp_path / "flex"
    volume.mkdir()
    # The file of an earlier start is in the volume.
    (volume / "ca.pem").write_text("old", encoding="ascii")

    def in_volume(value: str) -> str:
        return value.replace("/flex/", f"{volume}/")

    kind, *health = map(in_volume, compose["flex"]["healthcheck"]["test"])
    assert kind == "CMD"
    variables = {name: in_volume(value) for name, value in compose["shop"]["environment"].items()}
    environ = programs(tmp_path)
    with two_machines(tmp_path, "the containers of docs/containers.md", {"flex": SERVER}) as network:
        python = [sys.executable, *health[1:]]
        assert health[0] == "python"
        early = subprocess.run([*network.server, *python], env=environ, capture_output=True, check=False)
        assert early.returncode != 0
        with subprocess.Popen(
            [*network.server, *map(in_volume, command)],
            env={**environ, **credentials},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        ) as emulator:
            assert emulator.stdout is not None
            try:
                assert "Flex emulator at https://flex:8443" in emulator.stdout.readline()
                subprocess.run([*network.server, *python], env=environ, timeout=60, check=True)
                shop = subprocess.run(
                    [*network.client, sys.executable, "-c", SHOP],
                    env={**environ, **credentials, **variables},
                    capture_output=True,
                    encoding="utf-8",
                    timeout=60,
                    check=False,
                )
            finally:
                emulator.send_signal(signal.SIGTERM)
                output, log = emulator.communicate(timeout=20)
    assert (shop.returncode, shop.stdout) == (0, "XXXXXXXXXXXX1111\n"), shop.stderr
    assert emulator.returncode == 0
    assert "POST /flex/v2/tokens 201" in log
    assert credentials["CYBERSOURCE_SECRET_KEY"] not in output + log


def test_a_port_published_on_loopback(tmp_path: Path) -> None:
    """The emulator's part of `docker run`. Clients on the host use http to localhost."""
    (line,) = [block.replace("\\\n", " ") for block in blocks("sh") if "docker run" in block]
    docker, _, options = line.partition("cybersource-flex emulator ")
    assert "--publish 127.0.0.1:8080:8080 " in docker
    credentials = flex_env(tmp_path)
    port = str(free_port())
    # Without a network namespace, the emulator must not listen on an address of this machine.
    arguments = options.replace("8080", port).replace("0.0.0.0", "127.0.0.1").split()
    environ = programs(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-m", "cybersource_flex", "emulator", *arguments],
        env={**environ, **credentials},
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as emulator:
        assert emulator.stdout is not None
        try:
            assert f"Flex emulator at http://localhost:{port}" in emulator.stdout.readline()
            result = subprocess.run(
                [sys.executable, "-c", SHOP],
                env={**environ, **credentials, "CYBERSOURCE_ENVIRONMENT": f"http://localhost:{port}"},
                capture_output=True,
                encoding="utf-8",
                timeout=60,
                check=False,
            )
        finally:
            emulator.terminate()
    assert (result.returncode, result.stdout) == (0, "XXXXXXXXXXXX1111\n"), result.stderr


def test_the_messages_in_the_table_exist() -> None:
    """The messages of this package are those that the page explains."""
    source = "".join(path.read_text("utf-8") for path in (ROOT / "cybersource_flex").rglob("*.py"))
    messages = [
        "exists; use --force to overwrite it",
        "cannot be written",
        "is neither this host nor a host of the real service",
        "must use https://",
        "made with another secret",
        "does not trust the CA",
        "a name that is not in it",
    ]
    for message in messages:
        assert message in PAGE
        assert message in source
