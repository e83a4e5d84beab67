"""The names and case of the JWT claims on which CyberSource's sources disagree."""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["JwtClaimFormat"]


class JwtClaimFormat(NamedTuple):
    """Format of two claims in the request's JWT. The defaults are those of the official Python SDK.

    The service is thought to accept either form.

    Attributes:
        method: case of ``request-method``: ``upper`` (Python and .NET SDKs) or ``lower`` (the guide, Node SDK).
        digest_algorithm: name of the claim that says ``SHA-256``: ``digestAlgorithm`` (the guide, Python and .NET SDKs)
            or ``digest-algorithm`` (Node SDK).
    """

    method: Literal["upper", "lower"] = "upper"
    digest_algorithm: Literal["digestAlgorithm", "digest-algorithm"] = "digestAlgorithm"
