"""The logger of the emulator."""

from __future__ import annotations

import logging

LOGGER = logging.getLogger("cybersource_flex.emulator")
