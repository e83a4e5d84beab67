"""Packaging. What tools are set to stands in pyproject.toml; what they depend on stands here."""

import os
import re
from pathlib import Path

from setuptools import find_packages, setup

# The modes of files are in a wheel too; they must not be those that the builder's machine gives new files.
os.umask(0o022)

ROOT = Path(__file__).parent
(VERSION,) = re.findall(
    r'__version__: Final = "([^"]+)"', (ROOT / "cybersource_flex" / "_version.py").read_text("utf-8")
)

# The tests pass with every lowest version (tox: `lowest-*`). Where older ones are known not to do, it is said why.
REQUIRED = [
    "urllib3>=2.2,<3",
    # Older versions make a DeprecationWarning with Python 3.12 and newer.
    "python-dateutil>=2.9.0",
    # Older versions have no `not_valid_after_utc`. Debian 13 has 43; Debian 12 has 38 and needs one from PyPI.
    "cryptography>=42",
]

# Click draws the command line and Rich what a person reads there; the emulator is an ASGI application,
# and makes its certificates with trustme.
CLI = ["click>=8.1", "rich>=13.7"]
EMULATOR = ["starlette>=0.37", "trustme>=1.1", "uvicorn>=0.29"]

# The client for event loops. Older versions do not limit the number of headers.
ASYNC = ["aiohttp>=3.13.4,<4"]

# Spans and metrics, for programs that have set OpenTelemetry up.
OTEL = ["opentelemetry-api>=1.30,<2"]

setup(
    name="cybersource-flex",
    version=VERSION,
    description="CyberSource Flex API: capture contexts, encryption and transient tokens, verified at every step",
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
        "Topic :: Office/Business :: Financial",
        "Typing :: Typed",
    ],
)
