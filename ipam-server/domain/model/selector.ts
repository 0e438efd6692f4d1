import { IpamError, type Labels } from "../../contract/index.ts";
import { expectedLabelKey, expectedLabelValue } from "./labels.ts";

/**
 * Label selectors with the complete syntax of Kubernetes (k8s.io/apimachinery, labels.Parse):
 *
 *     selector    = [ requirement { "," requirement } ]
 *     requirement = KEY | "!" KEY | KEY ( "=" | "==" | "!=" ) [ VALUE ] | KEY ( ">" | "<" ) INTEGER
 *                 | KEY ( "in" | "notin" ) "(" [ VALUE ] { "," [ VALUE ] } ")"
 *
 * The empty selector matches everything; `!=` and `notin` match where the key is absent; `in` and `notin` are
 * ordinary words wherever a key or value stands. Accepts one thing that Kubernetes' parser rejects although
 * its grammar allows it: two empty values at the end of a set, `x in (a,,)`.
 */
type SelectorOperator = "exists" | "!" | "=" | "==" | "!=" | "in" | "notin" | ">" | "<";

export interface Requirement {
  key: string;
  operator: SelectorOperator;
  /** Sorted, without repetition. One for `=`, `==`, `!=`, `>`, `<`; none for `exists` and `!`. */
  values: readonly string[];
}

/** All requirements must hold. Sorted by key, so that equal selectors read the same. */
export interface Selector {
  requirements: readonly Requirement[];
}

/**
 * Throws `invalid_request` with the selector, the position (from 1) and what was expected there.
 * @param field where the selector stands in the request, such as `networkSelector`
 */
export function parseSelector(text: string, field?: string): Selector {
  return new Parser(text, field).parse();
}

export function matches(selector: Selector, labels: Labels): boolean {
  return selector.requirements.every(requirement => holds(requirement, labels));
}

function holds({ key, operator, values }: Requirement, labels: Labels): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case "exists":
      return value !== undefined;
    case "!":
      return value === undefined;
    case "=":
    case "==":
    case "in":
      return value !== undefined && values.includes(value);
    case "!=":
    case "notin":
      return value === undefined || !values.includes(value);
    case ">":
    case "<": {
      const left = value === undefined ? undefined : parseInt64(value);
      const right = parseInt64(values[0] ?? "");
      if (left === undefined || right === undefined) return false;
      return operator === ">" ? left > right : left < right;
    }
  }
}

/** Kubernetes compares 64-bit integers; a longer one is no integer. */
function parseInt64(text: string): bigint | undefined {
  if (!/^[+-]?[0-9]+$/.test(text)) return undefined;
  const value = BigInt(text.replace(/^\+/, ""));
  return BigInt.asIntN(64, value) === value ? value : undefined;
}

interface Token {
  kind: "word" | "symbol" | "end";
  text: string;
  /** Offset in the selector, from 0. */
  at: number;
}

/** Longest symbol first; a word is anything but symbols and white space, checked later as key or value. */
const TOKEN = /[ \t\r\n]*(?:(?<symbol>==|!=|[=!(),<>])|(?<word>[^ \t\r\n=!(),<>]+)|$)/y;

function scan(text: string): Token[] {
  const tokens: Token[] = [];
  TOKEN.lastIndex = 0;
  for (;;) {
    const match = TOKEN.exec(text);
    const found = match?.groups?.symbol ?? match?.groups?.word;
    if (found === undefined) {
      tokens.push({ kind: "end", text: "", at: text.length });
      return tokens;
    }
    tokens.push({
      kind: match?.groups?.word === undefined ? "symbol" : "word",
      text: found,
      at: TOKEN.lastIndex - found.length,
    });
  }
}

const EXACT_OPERATORS = ["=", "==", "!="] as const;
const ORDER_OPERATORS = [">", "<"] as const;
const SET_OPERATORS = ["in", "notin"] as const;

class Parser {
  readonly #text: string;
  readonly #tokens: Token[];
  readonly #field: string | undefined;
  #position = 0;

  constructor(text: string, field: string | undefined) {
    this.#text = text;
    this.#field = field;
    this.#tokens = scan(text);
  }

  parse(): Selector {
    const requirements: Requirement[] = [];
    if (this.#next().kind === "end") return { requirements };
    do requirements.push(this.#parseRequirement());
    while (this.#accept(","));
    if (this.#next().kind !== "end") this.#fail('"," or the end');
    requirements.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
    return { requirements };
  }

  #parseRequirement(): Requirement {
    if (this.#accept("!")) return { key: this.#parseKey(), operator: "!", values: [] };
    const key = this.#parseKey();
    if (this.#atRequirementEnd()) return { key, operator: "exists", values: [] };
    const exact = EXACT_OPERATORS.find(symbol => this.#accept(symbol));
    if (exact) return { key, operator: exact, values: [this.#atRequirementEnd() ? "" : this.#parseValue()] };
    const order = ORDER_OPERATORS.find(symbol => this.#accept(symbol));
    if (order) return { key, operator: order, values: [this.#parseInteger()] };
    const set = SET_OPERATORS.find(word => this.#accept(word));
    if (set) return { key, operator: set, values: this.#parseValueSet() };
    return this.#fail('"=", "==", "!=", "in", "notin", ">", "<", "," or the end');
  }

  #parseKey(): string {
    const token = this.#next();
    const fault = token.kind === "word" ? expectedLabelKey(token.text) : "a label key";
    if (fault !== undefined) this.#fail(fault);
    this.#position++;
    return token.text;
  }

  #parseValue(): string {
    const token = this.#next();
    const fault = token.kind === "word" ? expectedLabelValue(token.text) : "a label value";
    if (fault !== undefined) this.#fail(fault);
    this.#position++;
    return token.text;
  }

  #parseInteger(): string {
    const fault = 'an integer to compare with (">" and "<" take 64-bit integers, without a sign)';
    const token = this.#next();
    if (parseInt64(token.text) === undefined || expectedLabelValue(token.text) !== undefined) this.#fail(fault);
    return this.#parseValue();
  }

  #parseValueSet(): string[] {
    if (!this.#accept("(")) this.#fail('"("');
    const values = new Set<string>();
    do values.add(this.#next().kind === "word" ? this.#parseValue() : "");
    while (this.#accept(","));
    if (!this.#accept(")")) this.#fail('a label value, "," or ")"');
    return [...values].sort();
  }

  #atRequirementEnd(): boolean {
    const { kind, text } = this.#next();
    return kind === "end" || text === ",";
  }

  #accept(text: string): boolean {
    const found = this.#next().text === text;
    if (found) this.#position++;
    return found;
  }

  #next(): Token {
    const token = this.#tokens[this.#position];
    if (token === undefined) throw new Error("the selector's parser read past its end");
    return token;
  }

  #fail(expected: string): never {
    const { kind, text, at } = this.#next();
    const found = kind === "end" ? "its end" : JSON.stringify(text);
    throw new IpamError(
      "invalid_request",
      `the selector ${JSON.stringify(this.#text)} has ${found} at position ${at + 1}; expected ${expected}`,
      this.#field === undefined ? {} : { field: this.#field },
    );
  }
}
