"""The forms of JWT claims on which sources disagree, and copies of a signer that use another form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..auth.jwt import JwtSigner

__all__ = ["CLAIM_FORMS", "other_claim_forms", "with_claim_form"]

#: For each assumption about a form: the attribute of ``JwtClaimFormat``, and its value.
CLAIM_FORMS: Final[Mapping[str, tuple[str, str]]] = {
    "jwt-method-upper": ("method_case", "upper"),
    "jwt-method-lower": ("method_case", "lower"),
    "jwt-digest-name": ("digest_algorithm_claim", "digestAlgorithm"),
    "jwt-digest-name-hyphen": ("digest_algorithm_claim", "digest-algorithm"),
    "jwt-digest-algorithm-upper": ("digest_algorithm", "SHA-256"),
    "jwt-digest-algorithm-lower": ("digest_algorithm", "sha-256"),
}


def with_claim_form(signer: JwtSigner, assumption: str) -> JwtSigner:
    """Copy a signer, and let the copy use the form of an assumption."""
    name, value = CLAIM_FORMS[assumption]
    changes: dict[str, Any] = {name: value}
    return signer._copy_with(claim_format=signer.claim_format._replace(**changes))


def other_claim_forms(signer: JwtSigner) -> list[tuple[str, JwtSigner]]:
    """For each form that a signer uses: its assumption, and a copy of the signer that uses the other form."""
    used = {name: assumption for assumption, (name, value) in CLAIM_FORMS.items() if _uses(signer, name, value)}
    return [
        (used[name], with_claim_form(signer, assumption))
        for assumption, (name, value) in CLAIM_FORMS.items()
        if not _uses(signer, name, value)
    ]


def _uses(signer: JwtSigner, name: str, value: str) -> bool:
    return bool(getattr(signer.claim_format, name) == value)
