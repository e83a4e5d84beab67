"""``cybersource-flex capture-context``: create, verify and print a capture context, for scripts."""

from __future__ import annotations

import json
from typing import NamedTuple

import click

from ...client import fields
from ...errors import ConfigurationError
from ...jose import CaptureContext
from ..shared.clients import client_from_options
from ..shared.progress import waiting

__all__ = ["Options", "run"]

_DEFAULT_CARD_FIELDS = ("number", "expirationMonth", "expirationYear", "securityCode?", "type?")


class Options(NamedTuple):
    """The options of the command."""

    card: tuple[str, ...]
    amount_details: tuple[str, ...]
    bill_to: tuple[str, ...]
    ship_to: tuple[str, ...]
    target_origin: tuple[str, ...]
    network: tuple[str, ...]
    payment_type: tuple[str, ...]
    environment: str | None
    host: str | None
    as_json: bool


def run(options: Options) -> None:
    """Create and verify a capture context, and print it.

    Raises:
        click.UsageError: the options are invalid.
        FlexError: the configuration is invalid, or the context could not be created or verified.
    """
    groups = {name: getattr(options, name) for name in ("card", "amount_details", "bill_to", "ship_to")}
    if options.target_origin and any(groups.values()):
        raise click.UsageError(
            "--target-origin creates a Microform context, for which fields cannot be chosen; leave out --card, "
            "--amount-details, --bill-to and --ship-to"
        )
    if not options.target_origin and (options.network or options.payment_type):
        raise click.UsageError("--network and --payment-type need --target-origin")
    try:
        requested_fields = fields(**(groups if any(groups.values()) else {"card": _DEFAULT_CARD_FIELDS}))
    except ConfigurationError as cause:
        raise click.UsageError(str(cause)) from None
    with (
        client_from_options(options.environment, options.host) as client,
        waiting(f"waiting for {client.api_client.configuration.host}"),
    ):
        if options.target_origin:
            context = client.create_microform_context(
                target_origins=options.target_origin,
                allowed_card_networks=options.network,
                allowed_payment_types=options.payment_type,
            )
        else:
            context = client.create_capture_context(requested_fields)
    click.echo(json.dumps(_report(context), indent=2) if options.as_json else context.jwt)


def _report(context: CaptureContext) -> dict[str, object]:
    return {
        "jwt": context.jwt,
        "type": context.type,
        "jti": context.jti,
        "expires_at": round(context.expires_at.timestamp()),
        "required_fields": context.required_fields,
        "optional_fields": context.optional_fields,
        "client_library": context.client_library,
        "client_library_integrity": context.client_library_integrity,
    }
