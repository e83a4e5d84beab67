"""Package metadata and dependencies. The configuration of the tools is in pyproject.toml."""

import os
import re
from pathlib import Path

from setuptools import find_packages, setup

# A wheel contains file modes. They must not depend on the umask of the machine that builds it.
os.umask(0o022)

ROOT = Path(__file__).parent
(VERSION,) = re.findall(
    r'__version__: Final = "([^"]+)"', (ROOT / "cybersource_flex" / "_version.py").read_text("utf-8")
)

# The tests pass with all lowest versions (tox: `lowest-*`). A comment gives the reason if older versions fail.
REQUIRED = [
    "urllib3>=2.2,<3",
    # Older versions raise a DeprecationWarning with Python 3.12 and newer.
    "python-dateutil>=2.9.0",
    # Older versions have no `not_valid_after_utc`. Debian 13 has 43; Debian 12 has 38, so it needs one from PyPI.
    "cryptography>=42",
]

# Click parses the command line, and Rich formats its output. The emulator is an ASGI application (Starlette, uvicorn),
# and creates its certificates with trustme.
CLI = ["click>=8.1", "rich>=13.7"]
EMULATOR = ["starlette>=0.37", "trustme>=1.1", "uvicorn>=0.29"]

# The asyncio client. Older versions do not limit the number of headers.
ASYNC = ["aiohttp>=3.13.4,<4"]

# Spans and metrics, for programs that configure OpenTelemetry.
OTEL = ["opentelemetry-api>=1.30,<2"]

setup(
    name="cybersource-flex",
    version=VERSION,
    description="Python SDK for the CyberSource Flex API: tokenize card data without storing it",
    long_description=(ROOT / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    packages=find_packages(include=["cybersource_flex", "cybersource_flex.*"]),
    package_data={"cybersource_flex": ["provenance.json", "py.typed"]},
    install_requires=REQUIRED,
    extras_require={
        "async": ASYNC,
        "cli": CLI,
        "emulator": EMULATOR,
        "otel": OTEL,
        "all": ASYNC + CLI + EMULATOR + OTEL,
    },
    entry_points={
        "console_scripts": ["cybersource-flex = cybersource_flex.cli:main"],
        "pytest11": ["cybersource_flex = cybersource_flex.testing.plugin"],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Office/Business :: Financial",
        "Typing :: Typed",
    ],
)
