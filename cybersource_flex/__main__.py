"""Run the command line with ``python -m cybersource_flex``."""

from .cli import main

main("python -m cybersource_flex")
