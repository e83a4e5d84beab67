/* The formats of the fields: what counts as complete and valid, how many digits fit, and where spaces are shown. */

const LONGEST_NUMBER = 19;
const LONGEST_ACCOUNT = 17;

function luhn(digits) {
  let sum = 0;
  [...digits].reverse().forEach((digit, index) => {
    const value = Number(digit) * (1 + (index % 2));
    sum += value > 9 ? value - 9 : value;
  });
  return sum % 10 === 0;
}

/** The check digit of a US routing number (ABA). */
function isRoutingNumber(digits) {
  const weights = [3, 7, 1, 3, 7, 1, 3, 7, 1];
  const sum = [...digits].reduce((total, digit, index) => total + Number(digit) * weights[index], 0);
  return sum > 0 && sum % 10 === 0;
}

/** Whether digits that are typed so far can still reach a range of numbers. */
function reaches(digits, [low, high]) {
  const start = digits.slice(0, low.length);
  return low.slice(0, start.length) <= start && start <= high.slice(0, start.length);
}

function flags(empty, valid, couldBeValid) {
  return { empty, couldBeValid, valid };
}

/** A card number. `brands` are the networks of the capture context, in its order. */
export class CardNumber {
  label = "Card number";
  autocomplete = "cc-number";

  constructor(brands) {
    this.brands = brands;
  }

  #withPrefix(digits) {
    return digits ? this.brands.filter((brand) => brand.ranges.some((range) => reaches(digits, range))) : [];
  }

  limit(digits) {
    return Math.max(0, ...this.#withPrefix(digits).map((brand) => Math.max(...brand.description.lengths))) || LONGEST_NUMBER;
  }

  /** The payload of a `change` event. */
  state(digits) {
    const card = [];
    for (const { description } of this.#withPrefix(digits)) {
      const longest = Math.max(...description.lengths);
      if (digits.length <= longest) {
        const valid = description.lengths.includes(digits.length) && (!description.luhn || luhn(digits));
        card.push({ ...description, valid, couldBeValid: valid || digits.length < longest });
      }
    }
    const valid = card.length > 0 && card.every((entry) => entry.valid);
    return { card, ...flags(!digits, valid, card.some((entry) => entry.couldBeValid)) };
  }

  /** The positions of spaces: none while the possible networks disagree. */
  spaces(digits) {
    const all = this.#withPrefix(digits).map((brand) => brand.description.spaces);
    return all.length && all.every((spaces) => String(spaces) === String(all[0])) ? all[0] : [];
  }

  /** The length of the security code: the longest of the possible networks. */
  codeLength(digits) {
    const lengths = this.#withPrefix(digits).map(({ description }) => description.securityCode.length || 0);
    return Math.max(3, ...lengths);
  }
}

export class SecurityCode {
  label = "Card security code";
  autocomplete = "off";
  length = 3;

  limit() {
    return this.length;
  }

  state(digits) {
    return flags(!digits, digits.length === this.length, digits.length > 0 && digits.length <= this.length);
  }
}

export class RoutingNumber {
  label = "Routing number";
  autocomplete = "off";

  limit() {
    return 9;
  }

  state(digits) {
    const valid = digits.length === 9 && isRoutingNumber(digits);
    return flags(!digits, valid, valid || (digits.length > 0 && digits.length < 9));
  }
}

export class AccountNumber {
  label = "Account number";
  autocomplete = "off";

  limit() {
    return LONGEST_ACCOUNT;
  }

  state(digits) {
    return flags(!digits, digits.length >= 4, digits.length > 0);
  }
}

/** The repeated account number. `account` is the first one, or null if that field is not loaded. */
export class AccountNumberConfirmation extends AccountNumber {
  label = "Confirm account number";
  account = null;

  state(digits) {
    if (this.account === null) {
      return super.state(digits);
    }
    const couldBeValid = digits.length > 0 && this.account.startsWith(digits);
    return flags(!digits, digits.length >= 4 && digits === this.account, couldBeValid);
  }
}

/** The format of a field type, or undefined for an unknown type. */
export function createFormat(fieldType, brands) {
  return {
    number: () => new CardNumber(brands),
    securityCode: () => new SecurityCode(),
    routingNumber: () => new RoutingNumber(),
    accountNumber: () => new AccountNumber(),
    accountNumberConfirm: () => new AccountNumberConfirmation(),
  }[fieldType]?.();
}

/** Digits with a space after each of these positions. A space is shown only if a digit follows. */
export function format(digits, spaces) {
  return [...digits].map((digit, index) => (spaces.includes(index) ? " " : "") + digit).join("");
}
