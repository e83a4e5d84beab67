/* Sign requests with a JWT and send them to the emulator. */

import { decode, encode } from "./jose.js";

const utf8 = new TextEncoder();
// The variants that a client of this package sends by default.
const CLAIM_FORMAT = { method_case: "lower", digest_algorithm_claim: "digestAlgorithm", digest_algorithm: "SHA-256" };

/**
 * Sign a request with a JWT and the merchant's shared secret.
 *
 * @param claimFormat the variant of each claim for which the emulator accepts only one
 * @returns the header, the claims, the signed string, and the value of the header `Authorization`
 */
export async function sign(merchant, claimFormat, method, path, body) {
  const format = { ...CLAIM_FORMAT, ...claimFormat };
  const now = Math.floor(Date.now() / 1000);
  const header = { alg: "HS256", kid: merchant.keyId, typ: "JWT" };
  const claims = {};
  if (body !== null) {
    const digest = await crypto.subtle.digest("SHA-256", utf8.encode(body));
    claims.digest = btoa(String.fromCharCode(...new Uint8Array(digest)));
    claims[format.digest_algorithm_claim] = format.digest_algorithm;
  }
  Object.assign(claims, {
    iat: now,
    exp: now + 120,
    iss: merchant.portfolioId ?? merchant.merchantId,
    jti: crypto.randomUUID(),
    "request-host": location.host,
    "request-method": format.method_case === "upper" ? method.toUpperCase() : method.toLowerCase(),
    "request-resource-path": path,
    "v-c-jwt-version": "2",
    "v-c-merchant-id": merchant.merchantId,
  });
  const signed = [header, claims].map((part) => encode(utf8.encode(JSON.stringify(part)))).join(".");
  const hmac = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", decode(merchant.secretKey), hmac, false, ["sign"]);
  const signature = encode(await crypto.subtle.sign("HMAC", key, utf8.encode(signed)));
  return { header, claims, signed, authorization: `Bearer ${signed}.${signature}` };
}

/** Send a request to the emulator. Returns status, correlation id and body. Rejects if the connection breaks. */
export async function send(method, path, headers = {}, body = null) {
  const response = await fetch(path, { method, headers, body, redirect: "error", credentials: "omit" });
  return {
    status: response.status,
    ok: response.ok,
    correlationId: response.headers.get("v-c-correlation-id"),
    reason: response.headers.get("v-c-emulator-rejection"),
    text: await response.text(),
  };
}
