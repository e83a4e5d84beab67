"""What openapi-generator's own templates make of openapi.yaml, as a contender, signed by hand. Runs in its environment.

It cannot read `application/jwt`, so it asks for JSON, and the stub answers with the same text as JSON.
"""

from by_hand import SCHEMES


def call(scheme, url):
    from stock_flex import ApiClient, Configuration
    from stock_flex.api.flex_api_api import FlexAPIApi
    from stock_flex.models.capture_field import CaptureField
    from stock_flex.models.capture_fields import CaptureFields
    from stock_flex.models.card_fields import CardFields
    from stock_flex.models.generate_flex_api_capture_context_request import GenerateFlexAPICaptureContextRequest
    from stock_flex.models.payment_information_fields import PaymentInformationFields

    sign = SCHEMES[scheme](url.partition("://")[2])

    class Signing(ApiClient):
        def call_api(self, method, url, header_params=None, body=None, *more, **others):
            # Its REST client makes the bytes later, with `json.dumps` as here.
            import json

            header_params = {**header_params, **sign(json.dumps(body).encode()), "Accept": "application/json"}
            return super().call_api(method, url, header_params, body, *more, **others)

    api = FlexAPIApi(Signing(Configuration(host=url)))

    def once():
        names = ("number", "expiration_month", "expiration_year", "security_code")
        card = CardFields(**{name: CaptureField(required=True) for name in names})
        fields = CaptureFields(payment_information=PaymentInformationFields(card=card))
        return api.generate_flex_api_capture_context(GenerateFlexAPICaptureContextRequest(fields=fields))

    return once
