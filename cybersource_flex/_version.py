"""The version of the package, alone so that everything can have it at no cost."""

from typing import Final

__version__: Final = "0.1.0"
