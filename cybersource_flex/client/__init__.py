"""The five steps of the Flex API as five verbs, each one verified before its result is given out."""

from .bulk import Tokenized
from .capture_fields import fields
from .flex_client import FlexClient

__all__ = ["FlexClient", "Tokenized", "fields"]
