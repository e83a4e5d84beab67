"""The other SDKs under test: CyberSource's official SDK, and the output of openapi-generator's own templates.

Each function runs in the environment of its SDK (peers.py), where this package is not installed.
"""

from raw_urllib3 import KEY_ID, KEYS, MERCHANT, PASSWORD, SCHEMES, SECRET, body

OFFICIAL_SETTINGS = {
    "HTTP Signature": {
        "authentication_type": "HTTP_Signature",
        "merchant_keyid": KEY_ID,
        "merchant_secretkey": SECRET,
    },
    "JWT HS256": {
        "authentication_type": "JWT",
        "jwt_key_type": "SHARED_SECRET",
        "merchant_keyid": KEY_ID,
        "merchant_secretkey": SECRET,
    },
    "JWT RS256": {
        "authentication_type": "JWT",
        "keys_directory": str(KEYS),
        "key_file_name": "merchant",
        "key_password": PASSWORD,
    },
}


def official_sdk(scheme, url):
    """The official SDK, through its public classes and with its log off."""
    import CyberSource

    config = {
        "merchantid": MERCHANT,
        # It speaks https alone, except to a proxy of the merchant's.
        "run_environment": "apitest.cybersource.com",
        "IntermediateHost": url,
        **OFFICIAL_SETTINGS[scheme],
    }
    api = CyberSource.FlexAPIApi(config)

    def once():
        # Plain JSON, which it takes as well as its models, and sooner.
        data, status, _ = api.generate_flex_api_capture_context(body().decode())
        if status != 201:
            raise RuntimeError(f"status {status}")
        return data

    return once


def stock_client(scheme, url):
    """The stock output of openapi.yaml, signed by hand.

    It cannot read `application/jwt`, so it requests JSON, and the stub server returns the same string as JSON.
    """
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
