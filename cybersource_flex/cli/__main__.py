"""``python -m cybersource_flex.cli``: the command line where no script is installed."""

from . import main

main()
