"""A shop's page with Microform, driven by a test through Playwright."""

from __future__ import annotations

from typing import Any

from support.shop_server import ShopServer

# Functions of the page. Each field's events are recorded in the order in which they arrive.
_HARNESS = """() => {
    window.events = [];
    window.fields = {};
    window.flexes = [];
    window.start = (context, kind, styles, fields, prefix) => {
        const flex = new Flex(context);
        const microform = flex.microform(kind, {styles});
        const names = [
            "autocomplete", "blur", "change", "error", "focus", "inputSubmitRequest", "load", "unload", "update",
        ];
        for (const [type, options] of Object.entries(fields)) {
            const field = microform.createField(type, options);
            for (const name of names) {
                // Playwright would not return the members of an error.
                const plain = (value) => (value instanceof Error ? {...value} : value);
                field.on(name, (...data) => events.push({field: prefix + type, name, data: data.map(plain)}));
            }
            window.fields[prefix + type] = field;
            field.load("#" + prefix + type + "-container");
        }
        window[prefix + "microform"] = microform;
    };
    window.caught = (action) => {
        try {
            action();
            return null;
        } catch (error) {
            return {...error, isError: error instanceof Error};
        }
    };
    window.createToken = (options, prefix = "") => new Promise((resolve) => {
        window[prefix + "microform"].createToken(options, (error, token) => {
            window.lastError = error;
            resolve({error: error && {...error}, token});
        });
    });
}"""


class MicroformPage:
    """One page with the containers of all fields.

    Args:
        page: Playwright's page.
        shop: the server of the page.
    """

    def __init__(self, page: Any, shop: ShopServer) -> None:
        self.page = page
        self.shop = shop
        self.jwt = ""

    def open(self, context: Any, url: str | None = None, **more: Any) -> MicroformPage:
        """Open a page that has loaded Microform's script for this context."""
        self.jwt = context if isinstance(context, str) else context.jwt
        self.page.goto(url or self.shop.add_checkout(self.jwt, **more))
        self.page.evaluate(_HARNESS)
        return self

    def start(
        self,
        kind: str = "card",
        fields: Any = ("number", "securityCode"),
        styles: Any = None,
        prefix: str = "",
        *,
        wait: bool = True,
    ) -> MicroformPage:
        """Create and load fields. `fields` are their types, or options by type."""
        options = fields if isinstance(fields, dict) else {name: {} for name in fields}
        self.page.evaluate(
            "([context, kind, styles, fields, prefix]) => start(context, kind, styles ?? undefined, fields, prefix)",
            [self.jwt, kind, styles, options, prefix],
        )
        if wait:
            for name in options:
                self.wait_for(prefix + name, "load")
        return self

    def input(self, field: str) -> Any:
        """The input in a field's frame."""
        return self.page.frame_locator(f"#{field}-container iframe").locator(".field")

    def type(self, field: str, digits: str) -> None:
        # When Playwright focuses an input, it puts the caret at the beginning.
        self.input(field).press("End")
        self.input(field).press_sequentially(digits)

    def type_card(self, number: str = "4111111111111111", code: str = "837", prefix: str = "") -> None:
        # At once, like pasted text: faster than key by key.
        self.input(prefix + "number").fill(number)
        self.input(prefix + "securityCode").fill(code)

    def events(self, field: str, name: str) -> list[list[Any]]:
        """The arguments of the listeners of a field's event, for each time that it was emitted."""
        events: list[list[Any]] = self.page.evaluate(
            "([field, name]) => events.filter((event) => event.field === field && event.name === name)"
            ".map((event) => event.data)",
            [field, name],
        )
        return events

    def wait_for(self, field: str, name: str, count: int = 1) -> list[Any]:
        """Wait until an event was emitted this often. Returns the last arguments."""
        self.page.wait_for_function(
            "([field, name, count]) =>"
            " events.filter((event) => event.field === field && event.name === name).length >= count",
            arg=[field, name, count],
        )
        return self.events(field, name)[-1]

    def state(self, field: str, value: str) -> dict[str, Any]:
        """Wait until the input shows a value, and return the payload of the last `change` event."""
        typed = self.input(field).input_value()
        assert typed == value
        # Messages arrive in order, so after this one nothing is on its way.
        self.sync(field)
        changes = self.events(field, "change")
        return changes[-1][0] if changes else {}

    def sync(self, field: str) -> None:
        """Wait until all messages of the frame so far have arrived."""
        count = len(self.events(field, "update"))
        self.page.evaluate("(field) => fields[field].update({title: 'secure'})", field)
        self.wait_for(field, "update", count + 1)

    def classes(self, field: str) -> set[str]:
        """The container's classes of Microform, without their common prefix."""
        names = self.page.evaluate("(field) => [...document.querySelector(`#${field}-container`).classList]", field)
        return {name.removeprefix("flex-microform").lstrip("-") for name in names if name.startswith("flex-microform")}

    def caught(self, action: str) -> dict[str, Any]:
        """The error that an expression throws."""
        error: dict[str, Any] | None = self.page.evaluate(f"() => caught(() => {{ {action} }})")
        assert error is not None, f"{action} throws no error"
        return error

    def create_token(self, options: dict[str, Any] | None = None, prefix: str = "") -> dict[str, Any]:
        """Call createToken and wait for its callback."""
        options = {"expirationMonth": "12", "expirationYear": "2031"} if options is None else options
        result: dict[str, Any] = self.page.evaluate(
            "([options, prefix]) => createToken(options, prefix)", [options, prefix]
        )
        return result

    def token(self, options: dict[str, Any] | None = None, prefix: str = "") -> str:
        """The token of a successful createToken."""
        result = self.create_token(options, prefix)
        assert result["error"] is None, result
        return str(result["token"])

    def reason(self, options: dict[str, Any] | None = None) -> str:
        """The reason of a failed createToken."""
        result = self.create_token(options)
        assert not result.get("token"), result
        return str(result["error"]["reason"])
