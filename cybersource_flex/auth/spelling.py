"""The points in which sources disagree about the request's JWT, in one place."""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["Spelling"]


class Spelling(NamedTuple):
    """How two claims are spelled. The service is believed to take either; the defaults are the official Python SDK's.

    Attributes:
        method: case of ``request-method``: ``upper`` (Python and .NET SDKs) or ``lower`` (the guide, Node SDK).
        digest_algorithm: name of the claim that says ``SHA-256``: ``digestAlgorithm`` (the guide, Python and .NET SDKs)
            or ``digest-algorithm`` (Node SDK).
    """

    method: Literal["upper", "lower"] = "upper"
    digest_algorithm: Literal["digestAlgorithm", "digest-algorithm"] = "digestAlgorithm"
