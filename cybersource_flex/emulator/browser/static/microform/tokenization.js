/* Check the options of createToken, encrypt the captured data, send it to the emulator, and report its errors. */

import { encrypt } from "./jose.js";

const SERVICE_TIMEOUT = 30000;
const OPTIONS = {
  expirationMonth: [/^(0[1-9]|1[0-2])$/, "must be 01 to 12"],
  expirationYear: [/^20[1-9]\d$/, "must be 2010 to 2099"],
  type: [/^(?!000)\d{3}$/, "must be a three-digit card type"],
  accountType: [/^[CSX]$/, "must be C, S or X"],
};
// The reasons that the emulator sends. Pages get them unchanged.
const REASONS = new Set([
  "API_GATEWAY_ERROR", "API_INTERNAL_ERROR", "API_JSON_PARSER_ERROR", "API_JWE_PARSING_ERROR", "CAPTURE_CONTEXT_EXPIRED",
  "CAPTURE_CONTEXT_INVALID", "CREATE_TOKEN_CAPTURE_CONTEXT_NOT_FOUND",
  "CREATE_TOKEN_CAPTURE_CONTEXT_USED_TOO_MANY_TIMES", "CREATE_TOKEN_CARD_TYPE_NOT_ALLOWED", "CREATE_TOKEN_DECRYPTION",
  "CREATE_TOKEN_NO_DATA_SUBMITTED", "CREATE_TOKEN_PLATFORM_ERROR", "CREATE_TOKEN_VALIDATION_SERVERSIDE",
]);
const LOCATIONS = ["number", "type", "expirationMonth", "expirationYear", "securityCode"];

/** What createToken reports to its callback. `details` and the rest are members of the page's error. */
export class TokenError extends Error {
  constructor(reason, message, more = {}) {
    super(message);
    this.result = { error: { reason, message, ...more } };
  }
}

function byLocation(first, second) {
  return first.location < second.location ? -1 : 1;
}

function checkOptions(options) {
  const details = [];
  for (const [name, value] of Object.entries(options)) {
    const [pattern, expected] = OPTIONS[name];
    if (!pattern.test(value)) {
      details.push({ location: name, message: `${name} ${expected}` });
    }
  }
  if (details.length) {
    const message = "One or more options have a validation error.";
    throw new TokenError("CREATE_TOKEN_VALIDATION_PARAMS", message, { details: details.sort(byLocation) });
  }
}

function checkFields(fields) {
  const details = fields
    .filter((field) => !field.valid)
    .map((field) => ({ location: field.type, message: "Validation error" }));
  if (details.length) {
    const message = "One or more fields have a validation error.";
    throw new TokenError("CREATE_TOKEN_VALIDATION_FIELDS", message, { details: details.sort(byLocation) });
  }
}

/** The captured data as contexts of type mf-2.x have it. Absent members are left out. */
function capturedData(kind, fields, options) {
  const values = Object.fromEntries(fields.map(({ type, value }) => [type, value]));
  if (kind === "card") {
    return { CARD: { ...values, ...options } };
  }
  const { routingNumber, accountNumber, accountNumberConfirm } = values;
  const account = { number: accountNumber, numberConfirm: accountNumberConfirm, type: options.accountType };
  return { CHECK: { routingNumber, account } };
}

async function post(url, body) {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), SERVICE_TIMEOUT);
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/jwt; charset=utf-8" },
      body,
      credentials: "omit",
      redirect: "error",
      signal: controller.signal,
    });
    const { status, ok } = response;
    const correlationId = response.headers.get("v-c-correlation-id");
    return { status, ok, correlationId, text: await response.text() };
  } catch {
    if (controller.signal.aborted) {
      throw new TokenError("CREATE_TOKEN_TIMEOUT", "The service did not respond in time.");
    }
    throw new TokenError("CREATE_TOKEN_XHR_ERROR", "The service cannot be reached.");
  } finally {
    clearTimeout(timer);
  }
}

function serverDetails(details) {
  const list = Array.isArray(details) ? details : [];
  return list
    .map(({ location, message }) => ({ location: String(location).replace(/^captureData\./, ""), message }))
    .filter(({ location }) => LOCATIONS.includes(location));
}

/** The error for a response that is not a success. */
function serviceError({ status, correlationId, text }) {
  const more = { status, correlationId };
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    // Handled below, with every other body that has no reason.
  }
  const { reason, message, details } = body?.responseStatus ?? {};
  if (typeof reason !== "string") {
    return new TokenError("API_INTERNAL_ERROR", "The service responded with an error.", more);
  }
  if (REASONS.has(reason)) {
    return new TokenError(reason, message, { ...more, details: serverDetails(details) });
  }
  return new TokenError("UNKNOWN_REASON", message, { ...more, details: [{ location: "reason", message: reason }] });
}

/**
 * Create a transient token.
 *
 * @param context kind ("card" or "check"), jwt, jwk, url, and index of its entry in the claim `ctx`
 * @param fields type, value, valid, empty and disabled of each loaded field
 * @param options those of createToken, as strings
 */
export async function createToken(context, fields, options) {
  // Pages disable the security code for cards that have none.
  const used = fields.filter((field) => !(field.disabled && field.empty));
  if (!used.length) {
    throw new TokenError("CREATE_TOKEN_NO_FIELDS", "No field has data to tokenize.");
  }
  checkOptions(options);
  checkFields(used);
  const data = capturedData(context.kind, used, options);
  let jwe;
  try {
    jwe = await encrypt(context.jwk, { data, context: context.jwt, index: context.index });
  } catch {
    throw new TokenError("BROWSER_ENCRYPTION_FAILED", "The browser cannot encrypt the data.");
  }
  const response = await post(context.url, jwe);
  if (!response.ok) {
    throw serviceError(response);
  }
  if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(response.text)) {
    const { status, correlationId } = response;
    throw new TokenError("MALFORMED_TOKENS_RESPONSE", "The response is not a token.", { status, correlationId });
  }
  return response.text;
}
