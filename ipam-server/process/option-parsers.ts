/** Parsers of option values. Each throws an Error whose message completes `"VALUE" ...`. */

const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** `500ms`, `60s`, `5m`, `24h`, `30d`, in milliseconds. */
export function parseDurationMs(text: string): number {
  const [, digits, unit] = /^(\d{1,12})(ms|s|m|h|d)$/.exec(text) ?? [];
  if (digits === undefined || unit === undefined) {
    throw new Error("is not a duration: a number and one of ms, s, m, h, d, such as 60s");
  }
  return Number(digits) * UNIT_MS[unit as keyof typeof UNIT_MS];
}

export function integerBetween(min: number, max: number): (text: string) => number {
  return text => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max) throw new Error(`is not a whole number of ${min} to ${max}`);
    return value;
  };
}

export function oneOf<const T extends string>(...choices: T[]): (text: string) => T {
  return text => {
    const found = choices.find(choice => choice === text);
    if (found === undefined) throw new Error(`is not one of ${choices.join(", ")}`);
    return found;
  };
}

export function parseSwitch(text: string): boolean {
  if (text === "true" || text === "1") return true;
  if (text === "false" || text === "0") return false;
  throw new Error("is not true or false");
}

export const parseText = (text: string): string => text;

export type ListenAddress = { type: "tcp"; host: string; port: number } | { type: "unix"; path: string };

/** `HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`. Port 0 takes any free one. */
export function parseListenAddress(text: string): ListenAddress {
  if (text.startsWith("unix:")) {
    const path = text.slice("unix:".length);
    if (path === "") throw new Error("names no socket: write unix:PATH");
    return { type: "unix", path };
  }
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  if (host === undefined || port > 65535) throw new Error("is not HOST:PORT, [IPV6]:PORT or unix:PATH");
  return { type: "tcp", host, port };
}
