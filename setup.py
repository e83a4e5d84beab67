"""Package metadata and dependencies. The configuration of the tools is in pyproject.toml."""

import os
import re
import sys
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel

# A wheel contains file modes. They must not depend on the umask of the machine that builds it.
os.umask(0o022)

ROOT = Path(__file__).resolve().parent

sys.path.insert(0, str(ROOT / "tools"))
import sbom  # noqa: E402

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

NAME = "cybersource-flex"
LICENSE = "MIT"
EXTRAS = {
    "async": ASYNC,
    "cli": CLI,
    "emulator": EMULATOR,
    "otel": OTEL,
    "all": ASYNC + CLI + EMULATOR + OTEL,
}


def long_description():
    """The README for package indexes, which have no other file of the repository.

    Pictures are left out, and links to files become plain text, because the project has no public address for them.
    """
    readme = (ROOT / "README.md").read_text("utf-8")
    without_pictures = re.sub(r"!\[[^\]]*\]\([^)]*\)\n*", "", readme)
    return re.sub(r"\[([^\]]+)\]\((?!https?://)[^)]*\)", r"\1", without_pictures)


class BdistWheel(bdist_wheel):
    """Add a software bill of materials to the wheel (PEP 770). setuptools has no setting for it."""

    def write_wheelfile(self, wheelfile_base, *args, **options):
        super().write_wheelfile(wheelfile_base, *args, **options)
        sbom.write(sbom.Project(NAME, VERSION, LICENSE, REQUIRED, EXTRAS), Path(wheelfile_base))


setup(
    name=NAME,
    version=VERSION,
    description="Python SDK for the CyberSource Flex API: tokenize card data without storing it",
    long_description=long_description(),
    long_description_content_type="text/markdown",
    maintainer="The cybersource_flex maintainers",
    license_expression=LICENSE,
    license_files=["LICENSE"],
    keywords=[
        "cybersource",
        "flex",
        "microform",
        "payments",
        "tokenization",
        "transient token",
        "pci dss",
        "jwt",
        "jwe",
    ],
    python_requires=">=3.11",
    packages=find_packages(include=["cybersource_flex", "cybersource_flex.*"]),
    package_data={
        "cybersource_flex": [
            ".agents/skills/*/SKILL.md",
            "probe/*.json",
            "provenance.json",
            "py.typed",
            "emulator/browser/static/*.js",
            "emulator/browser/static/*/*",
        ]
    },
    install_requires=REQUIRED,
    extras_require=EXTRAS,
    cmdclass={"bdist_wheel": BdistWheel},
    entry_points={
        "console_scripts": ["cybersource-flex = cybersource_flex.cli:main"],
        "pytest11": ["cybersource_flex = cybersource_flex.testing.plugin"],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Office/Business :: Financial",
        "Topic :: Security :: Cryptography",
        "Topic :: Software Development :: Libraries :: Python Modules",
        "Typing :: Typed",
    ],
)
