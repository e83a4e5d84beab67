/* The studio's page: steps, checkout, request log, scenarios and variables. */

import { decodeJson, decodeJwt, encrypt, verifyJwt } from "./jose.js";
import { send, sign } from "./requests.js";

const CARD = {
  number: "4111111111111111",
  securityCode: "123",
  expirationMonth: "12",
  expirationYear: String(new Date().getFullYear() + 3),
  type: "001",
};
const POLL = 1000;
const MAX_ROWS = 200;
const JWT = { Accept: "application/jwt" };
const JSON_BODY = { "Content-Type": "application/json;charset=utf-8" };

let state;
/** Results of the steps, by name: later steps read those of earlier ones. */
let results = {};

const byId = (id) => document.getElementById(id);

function element(name, properties = {}, ...children) {
  const created = Object.assign(document.createElement(name), properties);
  created.append(...children);
  return created;
}

function pretty(value) {
  return JSON.stringify(value, null, 2);
}

/** Digits of a card are shown like a receipt shows them. */
function masked(card) {
  return { ...card, number: `${card.number.slice(0, 6)}XXXXXX${card.number.slice(-4)}`, securityCode: "XXX" };
}

async function readState() {
  const response = await send("GET", "/studio/state");
  if (!response.ok) {
    throw new Error("The emulator did not return the studio's data.");
  }
  return JSON.parse(response.text);
}

/** Send a signed request. Throws if the emulator rejects it. */
async function sendSigned(method, path, headers, body) {
  const signed = await sign(state.merchant, state.claimFormat, method, path, body);
  const response = await send(method, path, { ...headers, Authorization: signed.authorization }, body);
  return { signed, response };
}

function messages({ signed, response }, method, path, body) {
  const parts = [[`Request: ${method} ${path}`, body ? pretty(JSON.parse(body)) : "no body"]];
  if (signed) {
    parts.push(["JWT of the request: header and claims", pretty({ ...signed.header, claims: signed.claims })]);
    parts.push(["The string that is signed with HMAC-SHA-256", signed.signed]);
    parts.push(["Header Authorization", signed.authorization]);
  }
  parts.push(responsePart(response));
  return parts;
}

function responsePart({ status, correlationId, text }) {
  return [`Response: status ${status}`, `v-c-correlation-id: ${correlationId}\n\n${text}`];
}

function check(exchange, expected, parts) {
  const { response } = exchange;
  if (response.status !== expected) {
    const reason = response.reason ? ` The emulator says: ${response.reason}.` : "";
    throw Object.assign(new Error(`Status ${response.status} instead of ${expected}.${reason}`), { parts });
  }
}

/** Verify a JWT. Throws if the signature is not valid. */
async function verified(jwt, jwk, what, parts) {
  if (!(await verifyJwt(jwt, jwk))) {
    throw Object.assign(new Error(`The signature of the ${what} is not valid.`), { parts });
  }
}

async function fetchKey(kid, parts) {
  const path = `/flex/v2/public-keys/${kid}`;
  const response = await send("GET", path, { Accept: "application/json" });
  parts.push(...messages({ response }, "GET", path, null));
  check({ response }, 200, parts);
  return JSON.parse(response.text);
}

const STEPS = [
  {
    title: "Create a capture context",
    note: "The server asks for the fields to capture. The request is signed with the merchant's shared secret.",
    async run() {
      const path = "/flex/v2/sessions";
      const card = Object.fromEntries(Object.keys(CARD).map((name) => [name, { required: name !== "type" }]));
      const body = JSON.stringify({ fields: { paymentInformation: { card } } });
      const exchange = await sendSigned("POST", path, { ...JWT, ...JSON_BODY }, body);
      const parts = messages(exchange, "POST", path, body);
      check(exchange, 201, parts);
      results.context = exchange.response.text;
      return parts;
    },
  },
  {
    title: "Verify the capture context",
    note: "A context is trusted only after its signature is verified with the host's long-term key.",
    async run() {
      const { header, payload } = decodeJwt(results.context);
      const parts = [["Header", pretty(header)], ["Payload", pretty(payload)]];
      const jwk = await fetchKey(header.kid, parts);
      await verified(results.context, jwk, "capture context", parts);
      const expiry = new Date(payload.exp * 1000).toLocaleTimeString();
      parts.push([`The signature is valid. The context expires at ${expiry}.`]);
      return parts;
    },
  },
  {
    title: "Encrypt the card",
    note: "The card is encrypted with the one-time key in the context, so that only the host can read it.",
    async run() {
      const { context } = results;
      const content = { data: { paymentInformation: { card: CARD } }, context, index: 0 };
      results.jwe = await encrypt(decodeJwt(context).payload.flx.jwk, content);
      return [
        ["Card, masked for display", pretty(masked(CARD))],
        ["JWE, header", pretty(decodeJson(results.jwe.split(".")[0]))],
        ["JWE, five parts", results.jwe],
      ];
    },
  },
  {
    title: "Exchange it for a transient token",
    note: "This request is not signed. In a shop, the browser sends it.",
    async run() {
      const path = "/flex/v2/tokens";
      const headers = { ...JWT, "Content-Type": "application/jwt; charset=utf-8" };
      const response = await send("POST", path, headers, results.jwe);
      const parts = [responsePart(response)];
      check({ response }, 201, parts);
      results.token = response.text;
      return parts;
    },
  },
  {
    title: "Verify the transient token",
    note: "The token must be signed with the one-time key of the same context. It lasts 15 minutes.",
    async run() {
      const { header, payload } = decodeJwt(results.token);
      const parts = [["Header", pretty(header)], ["Payload", pretty(payload)]];
      await verified(results.token, decodeJwt(results.context).payload.flx.jwk, "transient token", parts);
      parts.push(["The signature is valid."]);
      return parts;
    },
  },
  {
    title: "Pay with the token",
    note: "The server sends the token instead of a card. The emulator authorises or declines by the amount.",
    async run() {
      const exchange = await pay(results.token, "49.99");
      const parts = messages(exchange, "POST", exchange.path, exchange.body);
      check(exchange, 201, parts);
      return parts;
    },
  },
];

async function pay(token, amount) {
  const path = "/pts/v2/payments";
  const body = JSON.stringify({
    clientReferenceInformation: { code: "studio" },
    tokenInformation: { transientTokenJwt: token },
    orderInformation: { amountDetails: { totalAmount: amount, currency: "EUR" } },
  });
  const headers = { Accept: "application/hal+json", ...JSON_BODY };
  return { path, body, ...(await sendSigned("POST", path, headers, body)) };
}

/** A part is a label and a message, or a sentence alone. */
function showPart([label, content]) {
  if (content === undefined) {
    return element("p", { className: "good", textContent: label });
  }
  const message = element("pre", { textContent: content, tabIndex: 0 });
  return element("details", {}, element("summary", { textContent: label }), message);
}

function showParts(list, parts, error) {
  list.replaceChildren(...parts.map(showPart));
  if (error) {
    list.prepend(element("p", { className: "bad", textContent: error.message }));
  }
}

function renderSteps() {
  const items = STEPS.map((step, index) => {
    const button = element("button", { type: "button", textContent: "Run", disabled: index > 0 });
    button.setAttribute("aria-label", `Run step ${index + 1}: ${step.title}`);
    const status = element("span", { className: "quiet" });
    status.setAttribute("role", "status");
    const output = element("div");
    const title = element("h3", { textContent: `${index + 1}. ${step.title}` });
    const head = element("div", { className: "step-head" }, title, element("span", {}, status, " ", button));
    const note = element("p", { className: "step-note", textContent: step.note });
    Object.assign(step, { button, status, output });
    button.addEventListener("click", () => runStep(index));
    return element("li", {}, head, note, output);
  });
  byId("step-list").replaceChildren(...items);
}

async function runStep(index) {
  const { run, button, status, output } = STEPS[index];
  // The results of later steps belong to the previous run.
  STEPS.slice(index + 1).forEach((step) => {
    step.button.disabled = true;
    step.status.textContent = "";
    step.output.replaceChildren();
  });
  button.disabled = true;
  let succeeded = false;
  try {
    showParts(output, await run());
    succeeded = true;
  } catch (error) {
    showParts(output, error.parts ?? [], error);
  }
  button.disabled = false;
  status.className = succeeded ? "good" : "bad";
  status.textContent = succeeded ? "Done" : "Failed";
  if (succeeded && index + 1 < STEPS.length) {
    STEPS[index + 1].button.disabled = false;
  }
  readRequests();
  return succeeded;
}

async function runAll() {
  const buttons = [byId("run-all"), byId("start-over")];
  buttons.forEach((button) => { button.disabled = true; });
  let index = 0;
  while (index < STEPS.length && (await runStep(index))) {
    index += 1;
  }
  buttons.forEach((button) => { button.disabled = false; });
}

/* Checkout */

/** The capture context, the Microform and the fields that the form shows; null until they are there. */
let checkout = null;
let checkoutStarts = 0;
// After these errors of createToken, only a new capture context helps.
const UNUSABLE_CONTEXT = ["CAPTURE_CONTEXT_EXPIRED", "CREATE_TOKEN_CAPTURE_CONTEXT_USED_TOO_MANY_TIMES"];

function loadScript(url, integrity) {
  return new Promise((resolve, reject) => {
    const script = element("script", { src: url, integrity, crossOrigin: "anonymous" });
    script.addEventListener("load", resolve);
    script.addEventListener("error", () => reject(new Error("The script of Microform was not loaded.")));
    document.head.append(script);
  });
}

async function createMicroformContext() {
  const path = "/microform/v2/sessions";
  const body = JSON.stringify({
    clientVersion: "v2",
    targetOrigins: [location.origin],
    allowedCardNetworks: ["VISA", "MASTERCARD", "AMEX", "DISCOVER", "MAESTRO"],
    allowedPaymentTypes: ["CARD"],
  });
  const exchange = await sendSigned("POST", path, { ...JWT, ...JSON_BODY }, body);
  check(exchange, 201, []);
  const context = exchange.response.text;
  const jwk = await fetchKey(decodeJwt(context).header.kid, []);
  await verified(context, jwk, "capture context", []);
  return context;
}

/** Replace the fields of the form. Resolves when the new ones are loaded. */
async function showFields(context) {
  const styles = { input: { "font-size": "16px", color: "#1f2328" }, invalid: { color: "#a4261c" } };
  const microform = new window.Flex(context).microform("card", { styles });
  checkout?.fields.forEach((field) => field.dispose());
  const frames = [["number", "number-container", "1234 1234 1234 1234"], ["securityCode", "code-container", "123"]];
  const fields = frames.map(([name, , placeholder]) => microform.createField(name, { placeholder }));
  checkout = { context, microform, fields };
  const loaded = fields.map((field, index) => new Promise((resolve) => {
    field.on("load", resolve);
    field.load(`#${frames[index][1]}`);
  }));
  await Promise.all(loaded);
}

/** Show fields with a new capture context. If that fails, the fields that are there stay, and can still be used. */
async function startCheckout() {
  checkoutStarts += 1;
  const start = checkoutStarts;
  const status = byId("checkout-state");
  byId("pay").disabled = true;
  try {
    const context = await createMicroformContext();
    const { data } = decodeJwt(context).payload.ctx[0];
    if (!window.Flex) {
      await loadScript(data.clientLibrary, data.clientLibraryIntegrity);
    }
    if (start === checkoutStarts) {
      await showFields(context);
    }
  } catch (error) {
    if (start === checkoutStarts) {
      status.className = "bad";
      status.textContent = `There is no new capture context: ${error.message}`;
    }
  }
  // A later start enables the button itself.
  if (start === checkoutStarts) {
    byId("pay").disabled = checkout === null;
  }
}

async function restartCheckout() {
  byId("checkout-state").textContent = "";
  byId("checkout-result").replaceChildren();
  await startCheckout();
}

function createToken(microform) {
  const options = { expirationMonth: byId("expiry-month").value, expirationYear: byId("expiry-year").value };
  return new Promise((resolve, reject) => {
    microform.createToken(options, (error, token) => (error ? reject(error) : resolve(token)));
  });
}

async function checkOut(event) {
  event.preventDefault();
  const status = byId("checkout-state");
  const output = byId("checkout-result");
  output.replaceChildren();
  status.className = "quiet";
  status.textContent = "Sending the card from the frame ...";
  byId("pay").disabled = true;
  const { context, microform } = checkout;
  const parts = [];
  let contextUsed = false;
  try {
    const token = await createToken(microform);
    contextUsed = true;
    const { payload } = decodeJwt(token);
    parts.push(["Transient token", token], ["Transient token, payload", pretty(payload)]);
    await verified(token, decodeJwt(context).payload.flx.jwk, "transient token", parts);
    const exchange = await pay(token, byId("amount").value);
    parts.push(...messages(exchange, "POST", exchange.path, exchange.body));
    check(exchange, 201, parts);
    const result = JSON.parse(exchange.response.text);
    const reason = result.errorInformation?.reason;
    status.className = result.status === "AUTHORIZED" ? "good" : "bad";
    status.textContent = reason ? `${result.status}: ${reason}` : result.status;
    showParts(output, parts);
  } catch (error) {
    const details = error.details?.length ? ` ${error.details.map(({ location }) => location).join(", ")}` : "";
    const advice = UNUSABLE_CONTEXT.includes(error.reason) ? " Type the card again: the form has a new context." : "";
    status.className = "bad";
    status.textContent = `${error.reason ?? "Error"}: ${error.message}${details}${advice}`;
    showParts(output, error.parts ?? parts);
    contextUsed ||= UNUSABLE_CONTEXT.includes(error.reason);
  }
  readRequests();
  if (contextUsed) {
    await startCheckout();
  } else {
    byId("pay").disabled = false;
  }
}

/* Received requests */

let lastRequest = "";
let reading = false;

function requestRow(request) {
  const time = new Date(request.time * 1000).toLocaleTimeString();
  const good = request.status !== null && request.status < 400;
  const status = { className: good ? "good" : "bad", textContent: request.status ?? "closed" };
  const result = element("td", {}, element("span", status));
  if (request.reason) {
    result.append(element("br"), request.reason);
  }
  const caller = [request.merchant, request.scheme].filter(Boolean).join(", ");
  const remarks = [request.scenario && `scenario ${request.scenario}`, ...request.remarks].filter(Boolean).join("; ");
  return element(
    "tr", {},
    element("td", { textContent: time }),
    element("td", {}, element("code", { textContent: `${request.method} ${request.path}` })),
    result,
    element("td", { textContent: caller }),
    element("td", { textContent: remarks }),
  );
}

async function readRequests() {
  if (reading) {
    return;
  }
  reading = true;
  try {
    const response = await send("GET", `/studio/requests?after=${encodeURIComponent(lastRequest)}`);
    const { complete, requests } = JSON.parse(response.text);
    const rows = byId("request-table").tBodies[0];
    if (complete) {
      rows.replaceChildren();
    }
    rows.prepend(...requests.map(requestRow).reverse());
    while (rows.rows.length > MAX_ROWS) {
      rows.lastElementChild.remove();
    }
    lastRequest = requests.at(-1)?.id ?? (complete ? "" : lastRequest);
    byId("request-table").hidden = rows.rows.length === 0;
    byId("requests-empty").hidden = rows.rows.length > 0;
  } catch {
    // The emulator was stopped. The next poll tries again.
  }
  reading = false;
}

/* Scenarios and variables */

function showScenario(scenario) {
  const status = byId("scenario-state");
  status.className = scenario ? "bad" : "quiet";
  status.textContent = scenario ? `Default scenario: ${scenario}.` : "No default scenario.";
  byId("scenario-off").disabled = !scenario;
}

async function setScenario(scenario) {
  const headers = { "Content-Type": "application/json" };
  const response = await send("POST", "/studio/scenario", headers, JSON.stringify({ scenario }));
  const body = JSON.parse(response.text);
  if (response.ok) {
    showScenario(body.scenario);
    if (state.merchant) {
      restartCheckout();
    }
  } else {
    byId("scenario-state").className = "bad";
    byId("scenario-state").textContent = body.responseStatus.message;
  }
}

function renderScenarios() {
  byId("scenario-names").replaceChildren(...state.scenarios.map(({ usage }) => element("option", { value: usage })));
  const input = byId("scenario");
  const describe = () => {
    const name = input.value.split(";")[0];
    const found = state.scenarios.find(({ usage }) => usage.split(";")[0] === name);
    byId("scenario-description").textContent = found ? found.description : "";
  };
  input.addEventListener("input", describe);
  byId("scenario-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (input.value.trim()) {
      setScenario(input.value.trim());
    }
  });
  byId("scenario-off").addEventListener("click", () => setScenario(null));
  showScenario(state.scenario);
}

function renderVariables() {
  const quoted = (value) => `'${value.replaceAll("'", "'\\''")}'`;
  const lines = Object.entries(state.environ).map(([name, value]) => `export ${name}=${quoted(value)}`);
  byId("environ").textContent = lines.join("\n");
  byId("copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(`${lines.join("\n")}\n`);
      byId("copy-state").textContent = "Copied";
    } catch {
      byId("copy-state").textContent = "The browser does not allow copying. Select the text instead.";
    }
  });
}

function renderCheckoutForm() {
  byId("expiry-year").value = CARD.expirationYear;
  const amounts = [["49.99", "authorised"], ...state.declinedAmounts.map((amount) => [amount, "declined"])];
  byId("amount").replaceChildren(
    ...amounts.map(([value, result]) => element("option", { value, textContent: `${value} EUR, ${result}` })),
  );
  byId("checkout-form").addEventListener("submit", checkOut);
}

async function main() {
  state = await readState();
  byId("origin").textContent = state.origin;
  renderCheckoutForm();
  renderScenarios();
  renderVariables();
  await readRequests();
  setInterval(readRequests, POLL);
  if (!state.merchant) {
    const message = "The steps need a merchant with a shared secret, and the emulator has none.";
    byId("step-list").replaceChildren(element("li", { className: "bad", textContent: message }));
    ["run-all", "start-over", "new-context"].forEach((id) => { byId(id).disabled = true; });
    byId("checkout-state").textContent = message;
    return;
  }
  renderSteps();
  byId("run-all").addEventListener("click", runAll);
  byId("start-over").addEventListener("click", () => {
    results = {};
    renderSteps();
  });
  byId("new-context").addEventListener("click", restartCheckout);
  await startCheckout();
}

main();
