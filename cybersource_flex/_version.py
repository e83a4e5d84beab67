"""The version of the package. In a separate module, so that importing it is fast."""

from typing import Final

__version__: Final = "0.2.0"
