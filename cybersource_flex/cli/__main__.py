"""Run the command line with ``python -m cybersource_flex.cli``."""

from . import main

main()
