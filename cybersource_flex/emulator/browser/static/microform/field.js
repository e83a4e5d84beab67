/*
 * One payment field, in its frame. The frame verifies the capture context, shows the input, and reports its state to the
 * page, never its content. The fields of one form exchange their content on a BroadcastChannel, which only pages of this
 * origin can read; one of them creates the token.
 */

import { createFormat, format } from "./formats.js";
import { decodeJwt, verifyJwt } from "./jose.js";
import { applyStyles, mergeStyles } from "./styles.js";
import { createToken, TokenError } from "./tokenization.js";

const MARKER = "cybersource-flex-emulator";
// How long other fields of the form may take to send their content.
const SIBLING_TIMEOUT = 500;
const MAXIMUM_INCOMPLETE_ANCESTORS = 5;
const AUTOFILL = { name: "cc-name", expirationMonth: "cc-exp-month", expirationYear: "cc-exp-year" };

const settings = JSON.parse(document.getElementById("settings").textContent);
const parameters = JSON.parse(decodeURIComponent(location.hash.slice(1)));

function send(type, data, request) {
  parent.postMessage({ marker: MARKER, field: parameters.fieldId, type, data, request }, parameters.parentOrigin);
}

class StartError extends Error {
  constructor(reason, message) {
    super(message);
    this.reason = reason;
  }
}

/** Verify the signature of the capture context and return its claims. */
async function verifiedClaims(jwt) {
  try {
    const { header, payload } = decodeJwt(jwt);
    const jwk = settings.keys.find((key) => key.kid === header.kid);
    if (header.alg === "RS256" && jwk && (await verifyJwt(jwt, jwk))) {
      return payload;
    }
  } catch {
    // Not a JWT, or not a key.
  }
  throw new StartError("IFRAME_JWT_VALIDATION_FAILED", "The signature of the capture context cannot be verified.");
}

/** Whether the pages around this frame are those that the capture context lists. */
function allowsAncestors(targetOrigins) {
  const ancestors = location.ancestorOrigins ? [...location.ancestorOrigins] : [parameters.parentOrigin];
  if (ancestors[0] !== parameters.parentOrigin || !ancestors.every((origin) => targetOrigins.includes(origin))) {
    return false;
  }
  const complete = location.ancestorOrigins === undefined || ancestors.length === targetOrigins.length;
  return complete || targetOrigins.length <= MAXIMUM_INCOMPLETE_ANCESTORS;
}

async function readContext() {
  const { jwt, microformType: kind } = parameters;
  const claims = await verifiedClaims(jwt);
  const index = claims.ctx.findIndex((entry) => entry.type.startsWith("mf-"));
  const { data } = claims.ctx[index];
  if (!allowsAncestors(data.targetOrigins)) {
    return null;
  }
  if (claims.exp * 1000 <= Date.now()) {
    throw new StartError("CAPTURE_CONTEXT_EXPIRED", "The capture context has expired.");
  }
  const { origin, path, jwk } = claims.flx;
  return { kind, jwt, index, jwk, url: origin + path, networks: data.allowedCardNetworks ?? [] };
}

/** The input of the field: keeps only digits, groups them, and knows whether they are valid. */
class Input {
  digits = "";
  #options;

  constructor(type, fieldFormat, options) {
    this.type = type;
    this.format = fieldFormat;
    this.element = document.createElement("input");
    this.element.type = "tel";
    this.element.id = this.element.name = type;
    this.element.className = "field";
    const attributes = {
      autocomplete: fieldFormat.autocomplete, autocorrect: "off", autocapitalize: "none", spellcheck: "false",
      inputmode: "numeric",
    };
    for (const [name, value] of Object.entries(attributes)) {
      this.element.setAttribute(name, value);
    }
    this.description = document.createElement("span");
    this.description.id = "description";
    this.description.hidden = true;
    this.setOptions(options);
    this.render();
  }

  setOptions(options) {
    this.#options = options;
    const { element, type } = this;
    const attributes = {
      "aria-label": options["aria-label"] ?? this.format.label,
      "aria-required": String(options["aria-required"] ?? true),
      "aria-describedby": options.description ? "description" : undefined,
      "aria-placeholder": options.placeholder,
      placeholder: options.placeholder,
      title: options.title,
    };
    for (const [name, value] of Object.entries(attributes)) {
      if (value === undefined || value === null) {
        element.removeAttribute(name);
      } else {
        element.setAttribute(name, value);
      }
    }
    element.disabled = Boolean(options.disabled);
    this.description.textContent = options.description ?? "";
    if (type === "securityCode" && [3, 4].includes(options.maxLength)) {
      this.format.length = options.maxLength;
    }
    applyStyles(mergeStyles(parameters.microformConfig.styles, options.styles));
    this.render();
  }

  get state() {
    return this.format.state(this.digits);
  }

  /** Set the digits. Returns whether they changed. */
  setDigits(digits) {
    const limited = digits.slice(0, this.format.limit(digits));
    const changed = limited !== this.digits;
    this.digits = limited;
    this.render();
    return changed;
  }

  /** Read what the customer typed. Returns whether the digits changed. */
  read(event) {
    const { element } = this;
    const caret = element.selectionStart ?? element.value.length;
    let digits = element.value.replace(/\D/g, "");
    let before = element.value.slice(0, caret).replace(/\D/g, "").length;
    if (digits === this.digits && element.value !== this.#shown()) {
      // A space was deleted: delete the digit on its other side too, otherwise the caret would be stuck.
      if (event.inputType === "deleteContentBackward" && before > 0) {
        before -= 1;
        digits = digits.slice(0, before) + digits.slice(before + 1);
      } else if (event.inputType === "deleteContentForward") {
        digits = digits.slice(0, before) + digits.slice(before + 1);
      }
    }
    const changed = this.setDigits(digits);
    const shown = element.value;
    // After the digit, and after the space that follows it if the customer typed the digit.
    let position = before === 0 ? 0 : [...shown].findIndex((_, index) => countDigits(shown, index + 1) === before) + 1;
    if (position === 0 && before > 0) {
      position = shown.length;
    }
    if (event.inputType?.startsWith("insert") && shown[position] === " ") {
      position += 1;
    }
    if (document.activeElement === element) {
      element.setSelectionRange(position, position);
    }
    return changed;
  }

  #shown() {
    const autoformat = this.#options.autoformat ?? true;
    return autoformat && this.format.spaces ? format(this.digits, this.format.spaces(this.digits)) : this.digits;
  }

  render() {
    const shown = this.#shown();
    if (this.element.value !== shown) {
      this.element.value = shown;
    }
    const { empty, valid, couldBeValid } = this.state;
    this.element.classList.toggle("valid", valid);
    this.element.classList.toggle("incomplete", !empty && couldBeValid && !valid);
    this.element.classList.toggle("invalid", !empty && !couldBeValid && !valid);
    this.element.setAttribute("aria-invalid", String(!empty && !couldBeValid && !valid));
  }
}

function countDigits(text, end) {
  return text.slice(0, end).replace(/\D/g, "").length;
}

/** The field's connections to the page and to the other fields of the form. */
class Field {
  #context;
  #input;
  #options;
  #channel = new BroadcastChannel(parameters.microformId);
  // Requests of this field to the others, by id: the contents that arrived, and what to do when all are there.
  #collecting = new Map();

  constructor(context, fieldFormat) {
    this.#context = context;
    this.#options = parameters.config;
    this.#input = new Input(parameters.fieldType, fieldFormat, this.#options);
  }

  start() {
    const form = document.createElement("form");
    form.noValidate = true;
    const { element, description, type } = this.#input;
    form.append(element, description, ...(type === "number" ? this.#autofillInputs() : []));
    document.body.append(form);
    form.addEventListener("submit", (event) => event.preventDefault());
    element.addEventListener("input", (event) => this.#onInput(event));
    element.addEventListener("focus", () => send("focus"));
    element.addEventListener("blur", () => send("blur"));
    element.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.isComposing && !event.repeat) {
        send("inputSubmitRequest");
      }
    });
    this.#channel.addEventListener("message", (event) => this.#onSibling(event.data));
    addEventListener("message", (event) => this.#onPage(event));
    addEventListener("pagehide", () => {
      if (this.#input.type === "accountNumber") {
        this.#channel.postMessage({ type: "account", digits: null });
      }
    });
    send("load");
    this.#announce();
    this.#channel.postMessage({ type: "announce" });
  }

  #onInput(event) {
    const changed = this.#input.read(event);
    if (!this.#input.element.matches(":autofill")) {
      send("edited");
    } else if (this.#input.type === "number") {
      this.#onAutofill();
    }
    if (changed) {
      this.#changed();
    }
  }

  #changed() {
    send("change", this.#input.state);
    this.#announce();
  }

  /** Tell other fields what they need: the length of the security code, the account number to confirm. */
  #announce() {
    const { type, digits, format: fieldFormat } = this.#input;
    if (type === "number") {
      this.#channel.postMessage({ type: "codeLength", length: fieldFormat.codeLength(digits) });
    } else if (type === "accountNumber") {
      this.#channel.postMessage({ type: "account", digits });
    }
  }

  #onSibling(message) {
    const input = this.#input;
    if (message.type === "announce") {
      this.#announce();
    } else if (message.type === "codeLength" && input.type === "securityCode") {
      // A length that the page chose takes precedence.
      if (this.#options.maxLength === undefined && input.format.length !== message.length) {
        input.format.length = message.length;
        this.#reevaluate();
      }
    } else if (message.type === "account" && input.type === "accountNumberConfirm") {
      if (input.format.account !== message.digits) {
        input.format.account = message.digits;
        this.#reevaluate();
      }
    } else if (message.type === "collect" && message.fields.some(({ id }) => id === parameters.fieldId)) {
      const content = this.#content();
      this.#channel.postMessage({ type: "content", request: message.request, id: parameters.fieldId, content });
    } else if (message.type === "content") {
      this.#collecting.get(message.request)?.(message);
    }
  }

  /** The state may have changed without an edit. */
  #reevaluate() {
    this.#input.render();
    if (this.#input.digits) {
      send("change", this.#input.state);
    }
  }

  #content() {
    const { type, digits: value, element, state } = this.#input;
    return { type, value, valid: state.valid, empty: state.empty, disabled: element.disabled };
  }

  /** The contents of all loaded fields of the form, this one included. */
  #collect(fields) {
    const request = crypto.randomUUID();
    const others = new Map(fields.filter(({ id }) => id !== parameters.fieldId).map(({ id, type }) => [id, type]));
    const contents = [this.#content()];
    return new Promise((resolve, reject) => {
      const finish = () => {
        clearTimeout(timer);
        this.#collecting.delete(request);
        if (others.size === 0) {
          resolve(contents);
          return;
        }
        const details = [...others.values()].sort().map((type) => ({ location: type, message: "No response" }));
        reject(new TokenError("CREATE_TOKEN_TIMEOUT", "A field did not respond in time.", { details }));
      };
      const timer = setTimeout(finish, SIBLING_TIMEOUT);
      this.#collecting.set(request, ({ id, content }) => {
        if (others.delete(id)) {
          contents.push(content);
        }
        if (others.size === 0) {
          finish();
        }
      });
      if (others.size === 0) {
        finish();
      } else {
        this.#channel.postMessage({ type: "collect", request, fields });
      }
    });
  }

  async #tokenize({ options, fields }) {
    try {
      return { token: await createToken(this.#context, await this.#collect(fields), options) };
    } catch (error) {
      if (error instanceof TokenError) {
        return error.result;
      }
      console.error(error);
      return { error: { reason: "UNKNOWN_REASON", message: "The field failed." } };
    }
  }

  async #onPage({ source, origin, data: message }) {
    if (source !== parent || origin !== parameters.parentOrigin || message?.marker !== MARKER) {
      return;
    }
    const { type, data, request } = message;
    if (message.field !== parameters.fieldId) {
      return;
    }
    if (type === "focus") {
      this.#input.element.focus();
    } else if (type === "clear") {
      if (this.#input.setDigits("")) {
        this.#changed();
      }
    } else if (type === "update") {
      this.#configure(data.config);
      send("update", data.changes);
    } else if (type === "tokenize") {
      send("response", await this.#tokenize(data), request);
    }
  }

  #configure(options) {
    const before = JSON.stringify(this.#input.state);
    this.#options = options;
    this.#input.setOptions(options);
    if (this.#input.digits && JSON.stringify(this.#input.state) !== before) {
      send("change", this.#input.state);
    }
  }

  /** Invisible inputs for the other data of a card that the browser fills in. Their values go to the page. */
  #autofillInputs() {
    return Object.values(AUTOFILL).map((autocomplete) => {
      const input = document.createElement("input");
      Object.assign(input, { name: autocomplete, autocomplete, className: "autofill", tabIndex: -1 });
      input.setAttribute("aria-hidden", "true");
      input.addEventListener("input", () => this.#onAutofill());
      return input;
    });
  }

  #autofillPending = false;

  #onAutofill() {
    if (this.#autofillPending) {
      return;
    }
    // The browser fills the inputs one after the other.
    this.#autofillPending = true;
    setTimeout(() => {
      this.#autofillPending = false;
      const filled = {};
      for (const [name, autocomplete] of Object.entries(AUTOFILL)) {
        const input = document.getElementsByName(autocomplete)[0];
        if (input.value) {
          filled[name] = input.value;
        }
        input.value = "";
      }
      send("autocomplete", filled);
    });
  }
}

async function start() {
  const context = await readContext();
  if (context === null) {
    // Not to the page: it is not entitled to learn anything.
    console.error("CAPTURE_CONTEXT_INVALID: targetOrigins of the capture context does not list the pages of this frame");
    return;
  }
  const brands = context.networks.flatMap((name) => settings.brands.filter((brand) => brand.network === name));
  const fieldFormat = createFormat(parameters.fieldType, brands);
  if (!fieldFormat) {
    throw new StartError("IFRAME_UNSUPPORTED_FIELD_TYPE", "There is no such type of field.");
  }
  new Field(context, fieldFormat).start();
}

start().catch((error) => {
  if (!(error instanceof StartError)) {
    throw error;
  }
  send("error", { reason: error.reason, message: error.message });
});
