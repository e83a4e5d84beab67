"""The names and values of the JWT claims on which CyberSource's documents and SDKs disagree."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, get_args, get_type_hints

from ..errors import ConfigurationError

__all__ = ["CLAIM_VARIANTS", "JwtClaimFormat", "check_claim_format", "parse_claim_format"]


class JwtClaimFormat(NamedTuple):
    """Format of the JWT claims on which CyberSource's documents and SDKs disagree.

    The defaults are those of the official Python SDK. The service probably accepts both forms of most claims.

    Attributes:
        method_case: case of ``request-method``: ``upper`` (Python and .NET SDKs) or ``lower`` (the guide, Node SDK).
        digest_algorithm_claim: name of the claim with the digest algorithm: ``digestAlgorithm`` (the guide, Python
            and .NET SDKs) or ``digest-algorithm`` (Node SDK).
        digest_algorithm: value of that claim: ``SHA-256`` (all SDKs) or ``sha-256`` (a table of the guide).
        response_mle_claim: name of the claim that asks for an encrypted response: ``v-c-response-mle-kid`` (the guide
            since revision 26.04.01, all SDKs) or ``v-c-api-response-mle-kid`` (two pull requests to the Node SDK).
        resource_path: whether ``request-resource-path`` contains the query string: ``path-and-query`` (Python SDK) or
            ``path``. Only calls of ``client.request`` with ``params`` have a query string.
    """

    method_case: Literal["upper", "lower"] = "upper"
    digest_algorithm_claim: Literal["digestAlgorithm", "digest-algorithm"] = "digestAlgorithm"
    digest_algorithm: Literal["SHA-256", "sha-256"] = "SHA-256"
    response_mle_claim: Literal["v-c-response-mle-kid", "v-c-api-response-mle-kid"] = "v-c-response-mle-kid"
    resource_path: Literal["path-and-query", "path"] = "path-and-query"


#: The variants of each attribute of ``JwtClaimFormat``, the default first.
CLAIM_VARIANTS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {name: get_args(hint) for name, hint in get_type_hints(JwtClaimFormat).items()}
)


def check_claim_format(claim_format: Any) -> JwtClaimFormat:
    """Check the argument ``claim_format`` of a signer, and return it. Raises ``ConfigurationError``."""
    if not isinstance(claim_format, JwtClaimFormat):
        raise ConfigurationError(f"claim_format must be a JwtClaimFormat, not {type(claim_format).__name__}")
    if claim_format != JwtClaimFormat():
        parse_claim_format("claim_format", claim_format._asdict())
    return claim_format


def parse_claim_format(setting: str, values: Mapping[Any, Any]) -> JwtClaimFormat:
    """Create a ``JwtClaimFormat`` from names and values.

    Args:
        setting: name of the setting, for the error message.
        values: the value of each attribute that differs from its default.

    Raises:
        ConfigurationError: there is no such attribute, or the value is not one of its variants.
    """
    for name, value in values.items():
        if name not in CLAIM_VARIANTS:
            close = difflib.get_close_matches(name, CLAIM_VARIANTS, 1) if isinstance(name, str) else []
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(CLAIM_VARIANTS)}"
            label = repr(name) if close else "an unknown name"
            raise ConfigurationError(f"{setting} contains {label}; {hint}")
        if not isinstance(value, str) or value not in CLAIM_VARIANTS[name]:
            raise ConfigurationError(f"{name} of {setting} must be {' or '.join(map(repr, CLAIM_VARIANTS[name]))}")
    return JwtClaimFormat(**values)
