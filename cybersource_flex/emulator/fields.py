"""Which fields can be captured, and the shapes in which their values arrive.

Inside the emulator a field is always named by its dotted path below `fields`.
"""

from __future__ import annotations

from typing import Any

CARD_PREFIX = "paymentInformation.card."
BANK_PREFIX = "paymentInformation.bank."

CARD: frozenset[str] = frozenset(
    CARD_PREFIX + leaf for leaf in ("number", "securityCode", "expirationMonth", "expirationYear", "type")
)
# Microform eCheck only; named as in the token's content.
CHECK: frozenset[str] = frozenset(
    BANK_PREFIX + leaf for leaf in ("routingNumber", "account.number", "account.numberConfirm", "account.type")
)

_ADDRESS = (
    "address1",
    "address2",
    "administrativeArea",
    "buildingNumber",
    "country",
    "district",
    "locality",
    "postalCode",
    "email",
    "firstName",
    "lastName",
    "phoneNumber",
    "company",
)

# shipTo.email and shipTo.phoneNumber stand in the specification's full example only; they are accepted.
_API: frozenset[str] = (
    CARD
    | {"orderInformation.amountDetails.totalAmount", "orderInformation.amountDetails.currency"}
    | {f"orderInformation.{party}.{leaf}" for party in ("billTo", "shipTo") for leaf in _ADDRESS}
)

# Values that the transient token shows; everything else is captured and withheld, but for the number's masked
# form.
SHOWN: frozenset[str] = frozenset(CARD_PREFIX + leaf for leaf in ("expirationMonth", "expirationYear", "type"))


class DuplicateFieldError(ValueError):
    """A field has two values."""


def leaf_paths(extra: frozenset[str]) -> frozenset[str]:
    """All fields that a session may name; `extra` comes from the emulator's user."""
    return _API | extra if extra else _API


def flatten(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects and dotted names, also mixed, as dotted names. DuplicateFieldError when a name occurs twice."""
    flat: dict[str, Any] = {}
    for name, value in data.items():
        path = prefix + name
        items = flatten(value, path + ".") if isinstance(value, dict) else {path: value}
        if flat.keys() & items.keys():
            raise DuplicateFieldError("a field is given twice")
        flat.update(items)
    return flat


def canonical(path: str, *, microform: bool) -> str:
    """The dotted path of a field as a client names it.

    Contexts of the Flex API use the paths themselves. Microform's own script sends bare names (0.11) or puts
    them below CARD or CHECK (2.x); the paths are accepted there too.
    """
    if not microform:
        return path
    if path.startswith("CARD."):
        return CARD_PREFIX + path.removeprefix("CARD.")
    if path.startswith("CHECK."):
        return BANK_PREFIX + path.removeprefix("CHECK.")
    return path if "." in path else CARD_PREFIX + path


def location(path: str) -> str:
    """Where an error is: observed for card fields; `captureData.<dotted path>` for others is ours."""
    return "captureData." + path.removeprefix(CARD_PREFIX)


def nest(flat: dict[str, object]) -> dict[str, object]:
    """Dotted names as nested objects."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, leaf = path.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return tree
