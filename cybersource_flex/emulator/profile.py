"""Read a report of ``cybersource-flex probe`` and choose the options with which the emulator behaves as observed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError

# For each assumption that a report can contradict: the option, and its value.
_OPTIONS: dict[str, tuple[str, Any]] = {
    "tokens-context-reuse": ("context_uses", 1),
    "tokens-luhn": ("check_luhn", False),
    "tokens-expiry": ("check_expiry", False),
    "microform-loopback-origin": ("loopback_origins", True),
    # The probe tries a difference of 30 s. The real limit is below that.
    "jwt-clock-tolerance": ("jwt_leeway", 10.0),
    "signature-clock-tolerance": ("clock_tolerance", 10.0),
}
# For each form of a claim that a report can contradict: the claim, and the form that is accepted instead.
_CLAIM_FORMATS: dict[str, tuple[str, str]] = {
    "jwt-method-upper": ("method_case", "lower"),
    "jwt-method-lower": ("method_case", "upper"),
    "jwt-digest-name": ("digest_algorithm_claim", "digest-algorithm"),
    "jwt-digest-name-hyphen": ("digest_algorithm_claim", "digestAlgorithm"),
    "jwt-digest-algorithm-upper": ("digest_algorithm", "sha-256"),
    "jwt-digest-algorithm-lower": ("digest_algorithm", "SHA-256"),
    "jwt-path-query": ("resource_path", "path"),
}
# All assumptions whose contradiction an option can imitate.
IMITATED = frozenset({*_OPTIONS, *_CLAIM_FORMATS, "microform-error-body"})
_ERROR_LIST = "members: errors"


def options_from_profile(profile: str | os.PathLike[str] | Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Choose the options of an emulator that behaves like the host of a report.

    Args:
        profile: path of the report, or its content.

    Returns:
        The options, and the contradicted assumptions that no option can imitate.

    Raises:
        ConfigurationError: the file cannot be read, or is not a report.
    """
    options: dict[str, Any] = {}
    claim_format: dict[str, str] = {}
    unsupported: list[str] = []
    for assumption, observed in _contradictions(_read(profile)).items():
        if assumption in _OPTIONS:
            name, value = _OPTIONS[assumption]
            options[name] = value
        elif assumption in _CLAIM_FORMATS:
            name, variant = _CLAIM_FORMATS[assumption]
            claim_format[name] = variant
        elif assumption == "microform-error-body" and observed == _ERROR_LIST:
            options["microform_error_list"] = True
        else:
            unsupported.append(assumption)
    if claim_format:
        options["claim_format"] = claim_format
    return options, tuple(unsupported)


def _read(profile: str | os.PathLike[str] | Mapping[str, Any]) -> Any:
    if isinstance(profile, Mapping):
        return profile
    if not isinstance(profile, (str, os.PathLike)):
        raise ConfigurationError(f"profile must be the path of a report or its content, not {type(profile).__name__}")
    reason = "is not valid JSON"
    try:
        return json.loads(Path(profile).read_bytes())
    except OSError as cause:
        reason = cause.strerror or type(cause).__name__
    except (ValueError, RecursionError):
        pass
    # Raised outside `except`, because the original error contains the content of the file.
    raise ConfigurationError(f"profile {os.fspath(profile)!r}: {reason}")


def _contradictions(report: Any) -> dict[str, str]:
    """The contradicted assumptions of a report, with what was observed."""
    results = report.get("results") if isinstance(report, Mapping) else None
    if not isinstance(results, list) or not all(
        isinstance(result, Mapping)
        and all(isinstance(result.get(name), str) for name in ("assumption", "verdict", "observed"))
        for result in results
    ):
        raise ConfigurationError("profile must be a report of cybersource-flex probe, with a list of results")
    return {result["assumption"]: result["observed"] for result in results if result["verdict"] == "contradicted"}
