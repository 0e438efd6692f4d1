import { CNI_CODES, CniError } from "./cni-error.ts";

/** Hand-written checks of JSON input, because loading a schema library costs more than the call itself. */

export type JsonObject = Record<string, unknown>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The error of every parser of the network configuration. */
export function invalidKey(key: string, takes: string, found: unknown): CniError {
  const shown = JSON.stringify(found) ?? "nothing";
  const short = shown.length > 80 ? `${shown.slice(0, 77)}...` : shown;
  return new CniError(CNI_CODES.invalidConfig, `network configuration: "${key}" takes ${takes}, not ${short}`);
}

export function asObject(value: unknown, key: string): JsonObject {
  if (!isObject(value)) throw invalidKey(key, "an object", value);
  return value;
}

export function asArray(value: unknown, key: string): unknown[] {
  if (!Array.isArray(value)) throw invalidKey(key, "a list", value);
  return value;
}

export function asText(value: unknown, key: string, takes = "a non-empty string"): string {
  if (typeof value !== "string" || value === "") throw invalidKey(key, takes, value);
  return value;
}

export function asInteger(value: unknown, key: string, min: number, max: number): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
    throw invalidKey(key, `an integer from ${min} to ${max}`, value);
  }
  return value;
}

export function asTexts(value: unknown, key: string): string[] {
  return asArray(value, key).map((item, index) => asText(item, `${key}[${index}]`));
}
