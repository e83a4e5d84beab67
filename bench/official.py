"""CyberSource's own SDK as a contender, through its public classes, and without its log. Runs in its environment."""

from by_hand import KEY_ID, KEYS, MERCHANT, PASSWORD, SECRET, body

SCHEMES = {
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


def call(scheme, url):
    import CyberSource

    config = {
        "merchantid": MERCHANT,
        # It speaks https alone, except to a proxy of the merchant's.
        "run_environment": "apitest.cybersource.com",
        "IntermediateHost": url,
        **SCHEMES[scheme],
    }
    api = CyberSource.FlexAPIApi(config)

    def once():
        # Plain JSON, which it takes as well as its models, and sooner.
        data, status, _ = api.generate_flex_api_capture_context(body().decode())
        if status != 201:
            raise RuntimeError(f"status {status}")
        return data

    return once
