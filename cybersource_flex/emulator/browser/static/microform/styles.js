/* The styles that a page may set in a field. */

const SELECTORS = {
  input: ".field",
  "::placeholder": ".field::placeholder",
  ":hover": ".field:hover",
  ":focus": ".field:focus",
  ":disabled": ".field:disabled",
  valid: ".field.valid",
  invalid: ".field.invalid",
  incomplete: ".field.incomplete",
};
const PROPERTIES = new Set([
  "color", "cursor", "font", "font-family", "font-kerning", "font-size", "font-size-adjust", "font-stretch", "font-style",
  "font-variant", "font-variant-alternates", "font-variant-caps", "font-variant-east-asian", "font-variant-ligatures",
  "font-variant-numeric", "font-weight", "line-height", "opacity", "text-shadow", "text-rendering", "transition",
  "-moz-osx-font-smoothing", "-moz-tap-highlight-color", "-moz-transition", "-o-transition", "-webkit-font-smoothing",
  "-webkit-tap-highlight-color", "-webkit-transition",
]);

let applied = "";
const sheet = new CSSStyleSheet();
document.adoptedStyleSheets = [sheet];

/** Merge two sets of styles, selector by selector. */
export function mergeStyles(first, second) {
  const merged = { ...first };
  for (const [selector, properties] of Object.entries(second ?? {})) {
    merged[selector] = { ...merged[selector], ...properties };
  }
  return merged;
}

/** Replace the styles of the field. Other selectors and properties than the documented ones are left out with a warning. */
export function applyStyles(styles) {
  if (JSON.stringify(styles) === applied) {
    return;
  }
  applied = JSON.stringify(styles);
  sheet.replaceSync("");
  for (const [selector, properties] of Object.entries(styles)) {
    if (!Object.hasOwn(SELECTORS, selector)) {
      console.warn(`Microform ignores the styles of the unknown selector ${selector}.`);
      continue;
    }
    const rule = sheet.cssRules[sheet.insertRule(`${SELECTORS[selector]} {}`, sheet.cssRules.length)];
    for (const [property, value] of Object.entries(properties ?? {})) {
      setProperty(rule, property, String(value));
    }
  }
}

function setProperty(rule, property, value) {
  if (!PROPERTIES.has(property)) {
    console.warn(`Microform ignores the style property ${property}, which is not allowed.`);
  } else if (/url\s*\(|image-set\s*\(|\\/i.test(value)) {
    console.warn(`Microform ignores the value of ${property}: it must not refer to other files.`);
  } else {
    // Unlike a style sheet as text, this sets one property and ignores values with other content.
    rule.style.setProperty(property, value.trim().replace(/;$/, ""));
  }
}
