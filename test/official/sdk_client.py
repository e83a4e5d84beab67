"""Runs in the official SDK's environment. It reads one JSON request per line and writes one JSON result per line.

    python sdk_client.py CA_BUNDLE LOG_FOLDER

The SDK is used unchanged, through its public classes. It prints to standard output, which is redirected to standard
error here. Its CA bundle is `certifi.where()`, for which it has no setting. That function is replaced before the SDK is
imported, so that certifi's file stays unchanged.
"""

import json
import sys

results, sys.stdout = sys.stdout, sys.stderr
bundle, logs = sys.argv[1:]

import certifi  # noqa: E402

certifi.where = lambda: bundle

import CyberSource  # noqa: E402
from authenticationsdk.util.jwt import JWTUtility  # noqa: E402
from authenticationsdk.util.jwt.JWTUtility import get_rsa_public_key_from_jwk, verify_jwt  # noqa: E402
from CyberSource.logging.log_configuration import LogConfiguration  # noqa: E402
from CyberSource.rest import ApiException  # noqa: E402
from CyberSource.utilities.flex import rsa_verify  # noqa: E402
from CyberSource.utilities.flex.CaptureContextParsingUtility import parse_capture_context_response  # noqa: E402

METHODS = {
    "flex": (CyberSource.FlexAPIApi, "generate_flex_api_capture_context"),
    "microform": (CyberSource.MicroformIntegrationApi, "generate_capture_context"),
    "details": (CyberSource.TransientTokenDataV2Api, "get_transaction_for_transient_token_jti"),
    "pay": (CyberSource.PaymentsApi, "create_payment"),
    "credentials": (CyberSource.TransientTokenDataV2Api, "get_payment_credentials_for_transient_token"),
}


class Environment:
    """What the verifier reads of a configuration."""

    def __init__(self, run_environment):
        self.run_environment = run_environment


def configured(config):
    # With logging off, a configuration that holds a Boolean fails its validation.
    log = LogConfiguration()
    log.set_enable_log(True)
    log.set_log_directory(logs)
    log.set_log_file_name("sdk")
    log.set_log_level("DEBUG")
    return {**config, "log_config": log}


def call(request):
    what = request["what"]
    if what == "parse":
        return parse_capture_context_response(request["argument"], Environment(request["environment"]))
    if what == "verify":
        verify_jwt(request["argument"], get_rsa_public_key_from_jwk(request["jwk"]))
        return True
    if what == "read":
        return JWTUtility.parse(request["argument"])["payload"]
    if what == "verify data":
        return rsa_verify.verify_token(request["key"], request["signature"], request["argument"])
    api, method = METHODS[what]
    data, status, body = getattr(api(configured(request["config"])), method)(request["argument"], _request_timeout=20)
    # Payments return a model.
    data = data.to_dict() if hasattr(data, "to_dict") else data
    return {"data": data, "status": status, "body": body}


for line in sys.stdin:
    try:
        result = {"value": call(json.loads(line))}
    except ApiException as error:
        result = {"error": "ApiException", "status": error.status, "message": str(error.reason), "body": error.body}
    except Exception as error:
        result = {"error": type(error).__name__, "message": str(error)}
    results.write(json.dumps(result) + "\n")
    results.flush()
