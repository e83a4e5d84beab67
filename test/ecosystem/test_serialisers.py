"""What a context or token contains, in the serialisers of web frameworks."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import django.conf
import httpx
import jinja2
import pydantic
import pytest
from django.core.serializers.json import DjangoJSONEncoder
from django.core.signing import JSONSerializer
from django.http import JsonResponse
from django.template import Context as TemplateContext
from django.template import Engine
from django.utils.html import conditional_escape
from fastapi import FastAPI

from cybersource_flex import FlexClient, fields
from cybersource_flex.auth import JwtSharedSecret
from cybersource_flex.emulator import Emulator
from cybersource_flex.testing import TokenFactory

CARD = {"number": "4111111111111111", "expirationMonth": "12", "expirationYear": "2031"}


@pytest.fixture(scope="module")
def objects() -> Any:
    """A capture context and a transient token."""
    with Emulator() as emulator, FlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
        context = client.create_capture_context(fields(card=list(CARD)))
        yield context, client.tokenize(context, {"card": CARD})


@pytest.fixture(scope="module", params=["context.data", "context.claims", "token.claims", "token.content"])
def content(request: pytest.FixtureRequest, objects: Any) -> Any:
    name, _, attribute = request.param.partition(".")
    return getattr(objects[0 if name == "context" else 1], attribute)


@pytest.fixture(scope="module", autouse=True)
def django_settings() -> None:
    django.conf.settings.configure(SECRET_KEY="x" * 50)


def test_what_a_token_lacks_is_read_only_too(objects: Any) -> None:
    for empty in (objects[1].metadata, objects[1].payment_credentials_references):
        assert json.dumps(empty) == "{}"
        with pytest.raises(TypeError, match="read-only"):
            empty["a"] = 1


def test_json(content: Any) -> None:
    assert content
    assert json.loads(json.dumps(content)) == content


def test_jinja_tojson(content: Any) -> None:
    rendered = jinja2.Environment(autoescape=True).from_string("{{ content | tojson }}").render(content=content)
    assert json.loads(rendered) == content


def test_django_response_session_and_encoder(content: Any) -> None:
    assert json.loads(JsonResponse(content).content) == content
    assert JSONSerializer().loads(JSONSerializer().dumps(content)) == content
    assert json.loads(json.dumps(content, cls=DjangoJSONEncoder)) == content


def test_templates_insert_the_script_tag_unchanged() -> None:
    tag = TokenFactory().microform_context().script_tag()
    escaped = "{{ tag }}{{ name }}"
    values = {"tag": tag, "name": "<b>"}
    expected = f"{tag}&lt;b&gt;"
    assert jinja2.Environment(autoescape=True).from_string(escaped).render(values) == expected
    assert Engine().from_string(escaped).render(TemplateContext(values)) == expected
    assert conditional_escape(tag) == tag


def test_fastapi_response(content: Any) -> None:
    app = FastAPI()
    app.get("/plain")(lambda: content)
    app.get("/nested", response_model=dict[str, dict[str, Any]])(lambda: {"content": content})
    assert asyncio.run(get_json(app, "/plain")) == content
    assert asyncio.run(get_json(app, "/nested")) == {"content": content}


async def get_json(app: FastAPI, path: str) -> Any:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app.example") as client:
        return (await client.get(path)).json()


def test_pydantic(content: Any) -> None:
    adapter = pydantic.TypeAdapter(dict[str, Any])
    assert json.loads(adapter.dump_json(adapter.validate_python(content))) == content
