/*
 * Microform for pages, served by the emulator of cybersource_flex. Not CyberSource's library: it was written from public
 * descriptions, for tests without CyberSource's network. Never type real card data.
 *
 * The page gets one frame per field. Card data stays in the frames, which belong to the emulator's origin.
 */
(() => {
  "use strict";

  const VERSION = "v2.5.1";
  const MARKER = "cybersource-flex-emulator";
  // Longer than the 30 s after which a frame reports a timeout itself.
  const FRAME_TIMEOUT = 35000;
  const FIELD_TYPES = {
    card: ["number", "securityCode"],
    check: ["routingNumber", "accountNumber", "accountNumberConfirm"],
  };
  const FIELD_OPTIONS = [
    "aria-label", "aria-required", "autoformat", "description", "disabled", "maxLength", "placeholder", "styles", "title",
  ];
  const TOKEN_OPTIONS = { card: ["expirationMonth", "expirationYear", "type"], check: ["accountType"] };
  const EVENTS = [
    "autocomplete", "blur", "change", "error", "focus", "inputSubmitRequest", "load", "unload", "update",
  ];
  const CLASS = "flex-microform";
  const STATES = ["focused", "valid", "invalid", "incomplete", "disabled", "autocomplete"];

  class MicroformError extends Error {
    constructor(reason, message, { details = [], correlationId = null, status } = {}) {
      super(message);
      const members = {
        name: "MicroformError",
        reason,
        message,
        details,
        correlationId,
        // Some documents spell it this way.
        correlationID: correlationId,
        informationLink: null,
        ...(status === undefined ? {} : { status }),
      };
      // Enumerable, so that JSON.stringify shows them.
      for (const [name, value] of Object.entries(members)) {
        Object.defineProperty(this, name, { value, enumerable: true, configurable: true, writable: true });
      }
    }
  }

  // Not from jose.js: pages load this file alone, as a classic script whose hash is in the capture context.
  function decodePart(part) {
    const binary = atob(part.replace(/-/g, "+").replace(/_/g, "/"));
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(binary, (char) => char.charCodeAt(0))));
  }

  /** The claims that this script needs. The signature is verified in the frames. */
  function readContext(jwt) {
    try {
      const parts = jwt.split(".");
      if (parts.length !== 3 || !parts.every((part) => /^[\w-]+$/.test(part))) {
        throw new Error("not a JWT");
      }
      decodePart(parts[0]);
      const claims = decodePart(parts[1]);
      const { data } = claims.ctx.find((entry) => entry.type.startsWith("mf-"));
      const origin = new URL(data.mfOrigin || claims.flx.origin).origin;
      const paymentTypes = data.allowedPaymentTypes || ["CARD"];
      if (typeof claims.exp !== "number" || typeof claims.flx.jwk.kid !== "string") {
        throw new Error("a claim is missing");
      }
      return { jwt, origin, paymentTypes, keyId: claims.flx.jwk.kid, expires: claims.exp * 1000 };
    } catch {
      throw new MicroformError("CAPTURE_CONTEXT_INVALID", "The capture context is not a capture context for Microform.");
    }
  }

  function pick(options, names) {
    const known = names.filter((name) => options != null && options[name] !== undefined);
    return Object.fromEntries(known.map((name) => [name, options[name]]));
  }

  /** Merge two sets of styles, selector by selector. */
  function mergeStyles(first = {}, second = {}) {
    const merged = { ...first };
    for (const [selector, properties] of Object.entries(second)) {
      merged[selector] = { ...merged[selector], ...properties };
    }
    return merged;
  }

  function mergeOptions(current, changes) {
    const merged = { ...current, ...changes };
    if (changes.styles) {
      merged.styles = mergeStyles(current.styles, changes.styles);
    }
    return merged;
  }

  class Field {
    #microform;
    #type;
    #id = crypto.randomUUID();
    #options;
    #listeners = new Map(EVENTS.map((name) => [name, new Set()]));
    #container = null;
    #frame = null;
    #ready = false;
    // Messages to a frame that is not ready yet.
    #queue = [];
    // Callbacks of requests to the frame, by the request's id.
    #requests = new Map();
    #receive = (event) => this.#onMessage(event);

    constructor(microform, type, options) {
      this.#microform = microform;
      this.#type = type;
      this.#options = pick(options, FIELD_OPTIONS);
    }

    load(container) {
      if (this.#frame) {
        throw new MicroformError("FIELD_ALREADY_LOADED", `The field ${this.#type} is already loaded.`);
      }
      this.#container = findContainer(container);
      const { context, id, kind, styles } = this.#microform;
      const parameters = {
        microformType: kind,
        microformId: id,
        microformConfig: { styles },
        fieldType: this.#type,
        fieldId: this.#id,
        config: this.#options,
        jwt: context.jwt,
        parentOrigin: location.origin,
      };
      const page = `${context.origin}/microform/bundle/${VERSION}/iframe.html`;
      const frame = document.createElement("iframe");
      frame.src = `${page}?keyId=${encodeURIComponent(context.keyId)}#${encodeURIComponent(JSON.stringify(parameters))}`;
      frame.title = "secure payment field";
      const attributes = {
        frameborder: "0", scrolling: "no", allowtransparency: "true", marginwidth: "0", marginheight: "0", hspace: "0",
        vspace: "0",
      };
      for (const [name, value] of Object.entries(attributes)) {
        frame.setAttribute(name, value);
      }
      // Set by script: a page's Content-Security-Policy may forbid style attributes. With another color scheme than that
      // of the document in it, a frame would not be transparent.
      const style = { border: "none", width: "100%", height: "100%", overflow: "hidden", position: "relative" };
      Object.assign(frame.style, style, { colorScheme: "light" });
      this.#frame = frame;
      window.addEventListener("message", this.#receive);
      this.#container.classList.add(CLASS);
      this.#setClass("disabled", Boolean(this.#options.disabled));
      this.#container.append(frame);
    }

    unload() {
      if (!this.#frame) {
        throw new MicroformError("FIELD_UNLOAD_ERROR", `The field ${this.#type} is not loaded.`);
      }
      window.removeEventListener("message", this.#receive);
      this.#frame.remove();
      this.#container.classList.remove(CLASS, ...STATES.map((state) => `${CLASS}-${state}`));
      this.#frame = this.#container = null;
      this.#ready = false;
      this.#queue = [];
      for (const answer of [...this.#requests.values()]) {
        answer({ error: { reason: "CREATE_TOKEN_TIMEOUT", message: "The field was unloaded." } });
      }
      this.#emit("unload");
    }

    dispose() {
      if (this.#frame) {
        this.unload();
      }
      this.#microform.remove(this.#type, this);
    }

    on(type, listener) {
      this.#listenersOf(type, listener).add(listener);
    }

    off(type, listener) {
      this.#listenersOf(type, listener).delete(listener);
    }

    focus() {
      if (this.#frame) {
        // The browser lets a frame move the focus to its input only if the frame itself has the focus.
        this.#frame.focus();
        this.#send("focus");
      }
    }

    clear() {
      if (this.#frame) {
        this.#send("clear");
      }
    }

    update(options) {
      const changes = pick(options, FIELD_OPTIONS);
      this.#options = mergeOptions(this.#options, changes);
      if (this.#container && "disabled" in changes) {
        this.#setClass("disabled", Boolean(changes.disabled));
      }
      // A field that is not loaded gets its options when it is.
      if (this.#frame && Object.keys(changes).length) {
        this.#send("update", { changes, config: this.#options });
      }
    }

    /** For the Microform: the state of the frame, and requests to it. */
    static internals(field) {
      return {
        id: field.#id,
        type: field.#type,
        loaded: field.#frame !== null,
        ready: field.#ready,
        // A page may have removed the container without unloading the field.
        connected: Boolean(field.#frame && field.#frame.contentWindow),
        ask: (type, data, callback) => field.#ask(type, data, callback),
      };
    }

    #ask(type, data, callback) {
      const request = crypto.randomUUID();
      const answer = (result) => {
        clearTimeout(timer);
        this.#requests.delete(request);
        callback(result);
      };
      const message = "The field did not respond in time.";
      const timer = setTimeout(() => answer({ error: { reason: "CREATE_TOKEN_TIMEOUT", message } }), FRAME_TIMEOUT);
      this.#requests.set(request, answer);
      this.#send(type, data, request);
    }

    #send(type, data, request) {
      if (!this.#ready) {
        this.#queue.push([type, data]);
      } else if (this.#frame.contentWindow) {
        const message = { marker: MARKER, field: this.#id, type, data, request };
        this.#frame.contentWindow.postMessage(message, this.#microform.context.origin);
      }
    }

    #onMessage(event) {
      const { origin, source, data: message } = event;
      if (origin !== this.#microform.context.origin || source !== this.#frame.contentWindow) {
        return;
      }
      if (message?.marker !== MARKER || message.field !== this.#id) {
        return;
      }
      const { type, data } = message;
      if (type === "response") {
        const answer = this.#requests.get(message.request);
        if (answer) {
          answer(data);
        }
      } else if (type === "load") {
        this.#ready = true;
        for (const queued of this.#queue.splice(0)) {
          this.#send(...queued);
        }
        this.#emit("load");
      } else if (type === "error") {
        this.#emit("error", new MicroformError(data.reason, data.message));
      } else if (type === "edited") {
        this.#setClass("autocomplete", false);
      } else if (EVENTS.includes(type)) {
        this.#showState(type, data);
        this.#emit(type, data);
      }
    }

    #showState(type, data) {
      if (type === "focus" || type === "blur") {
        this.#setClass("focused", type === "focus");
      } else if (type === "autocomplete") {
        this.#setClass("autocomplete", true);
      } else if (type === "change") {
        this.#setClass("valid", data.valid);
        this.#setClass("incomplete", !data.empty && data.couldBeValid && !data.valid);
        this.#setClass("invalid", !data.empty && !data.couldBeValid && !data.valid);
      }
    }

    #setClass(state, present) {
      this.#container.classList.toggle(`${CLASS}-${state}`, present);
    }

    #listenersOf(type, listener) {
      if (!this.#listeners.has(type)) {
        const message = `There is no event ${type}; expected one of ${EVENTS.join(", ")}.`;
        throw new MicroformError("FIELD_SUBSCRIBE_UNSUPPORTED_EVENT", message);
      }
      if (typeof listener !== "function") {
        throw new MicroformError("FIELD_SUBSCRIBE_INVALID_CALLBACK", "The listener must be a function.");
      }
      return this.#listeners.get(type);
    }

    #emit(type, data) {
      for (const listener of [...this.#listeners.get(type)]) {
        try {
          listener(data);
        } catch (error) {
          reportError(error);
        }
      }
    }
  }

  function findContainer(container) {
    if (typeof container === "string") {
      let element = null;
      try {
        element = document.querySelector(container);
      } catch {
        // Not a valid selector: it finds nothing.
      }
      if (!element) {
        throw new MicroformError("FIELD_LOAD_CONTAINER_SELECTOR", `The selector ${container} finds no element.`);
      }
      return element;
    }
    if (!(container instanceof HTMLElement)) {
      const message = "The container must be an HTML element or a CSS selector.";
      throw new MicroformError("FIELD_LOAD_INVALID_CONTAINER", message);
    }
    return container;
  }

  class Microform {
    #fields = new Map();
    #shared;

    constructor(context, kind, options) {
      const remove = (type, field) => this.#remove(type, field);
      this.#shared = { context, kind, id: crypto.randomUUID(), styles: (options && options.styles) || {}, remove };
      // Undocumented, but pages of earlier versions use it.
      this.fields = {};
    }

    createField(fieldType, options) {
      const { context, kind } = this.#shared;
      const allowed = context.paymentTypes.includes(kind.toUpperCase()) ? FIELD_TYPES[kind] : [];
      if (!allowed.includes(fieldType)) {
        const message = `The field type ${fieldType} is not supported; expected ${allowed.join(" or ") || "none"}.`;
        const details = allowed.map((type) => ({ location: "fieldType", message: type }));
        throw new MicroformError("CREATE_FIELD_INVALID_FIELD_TYPE", message, { details });
      }
      if (this.#fields.has(fieldType)) {
        throw new MicroformError("CREATE_FIELD_DUPLICATE", `A field of type ${fieldType} was already created.`);
      }
      const field = new Field(this.#shared, fieldType, options);
      this.#fields.set(fieldType, field);
      this.fields[fieldType] = field;
      return field;
    }

    createToken(options, callback) {
      if (typeof callback !== "function") {
        throw new TypeError("createToken expects options and a callback");
      }
      const fail = (reason, message, more) => setTimeout(() => callback(new MicroformError(reason, message, more)));
      const loaded = [...this.#fields.values()].map(Field.internals).filter((field) => field.loaded);
      const ready = loaded.filter((field) => field.ready);
      const leader = ready.find((field) => field.connected);
      if (!loaded.length) {
        fail("CREATE_TOKEN_NO_FIELDS_LOADED", "No field is loaded.");
      } else if (!ready.length) {
        fail("CREATE_TOKEN_UNABLE_TO_START", "No loaded field is ready.");
      } else if (!leader) {
        fail("CREATE_TOKEN_TIMEOUT", "The fields are no longer in the page.");
      } else {
        const known = pick(options, TOKEN_OPTIONS[this.#shared.kind]);
        const given = Object.entries(known).filter(([, value]) => value !== null);
        const request = {
          options: Object.fromEntries(given.map(([name, value]) => [name, String(value)])),
          fields: loaded.map(({ id, type }) => ({ id, type })),
        };
        leader.ask("tokenize", request, ({ token, error }) => {
          if (error) {
            callback(new MicroformError(error.reason, error.message, error));
          } else {
            callback(null, token);
          }
        });
      }
    }

    #remove(type, field) {
      if (this.#fields.get(type) === field) {
        this.#fields.delete(type);
        delete this.fields[type];
      }
    }
  }

  class Flex {
    #context;

    constructor(captureContext) {
      this.#context = readContext(captureContext);
      if (this.#context.expires <= Date.now()) {
        throw new MicroformError("CAPTURE_CONTEXT_EXPIRED", "The capture context has expired.");
      }
    }

    microform(type, options) {
      // All published forms: (), (options), (type), (type, options).
      const [kind, rest] = typeof type === "string" ? [type, options] : ["card", type];
      if (!Object.hasOwn(FIELD_TYPES, kind)) {
        throw new TypeError(`microform expects "card" or "check", not ${kind}`);
      }
      return new Microform(this.#context, kind, rest);
    }
  }

  console.info("This page uses the Microform of the cybersource_flex emulator. Never type real card data.");
  window.Flex = Flex;
  if (typeof define === "function" && define.amd) {
    define([], () => ({ Flex }));
  }
})();
