import type { z } from "zod";
import { IpamError } from "../contract/index.ts";

type Path = readonly PropertyKey[];
type Issue = z.core.$ZodIssue;

/**
 * Returns the parsed value. Throws IpamError `invalid_request` that names the field below `root` and what is accepted.
 */
export function validate<S extends z.ZodType>(schema: S, value: unknown, root = ""): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw toError(schema, value, result.error.issues, root);
}

function toError(schema: z.ZodType, value: unknown, issues: readonly Issue[], root: string): IpamError {
  const [first] = issues;
  if (first === undefined) return new IpamError("invalid_request", "the request is not valid");
  const { path, text } = explain(schema, value, first);
  const field = pathText(root, path);
  const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : "";
  return new IpamError("invalid_request", `${field || "body"}: ${text}${more}`, field === "" ? {} : { field });
}

function explain(schema: z.ZodType, root: unknown, issue: Issue): { path: Path; text: string } {
  const { path } = issue;
  const value = valueAt(root, path);
  const is = (text: string) => ({ path, text: `${show(value)} ${text}` });
  switch (issue.code) {
    case "unrecognized_keys": {
      const accepted = acceptedKeys(schema, root, path).join(", ");
      return { path: [...path, issue.keys[0] ?? ""], text: `unknown field; accepted are ${accepted}` };
    }
    case "invalid_type":
      if (value === undefined) return { path, text: `is missing; it must be ${article(issue.expected)}` };
      return is(`is not ${article(issue.expected)}`);
    case "invalid_value":
      if (value === undefined) return { path, text: `is missing; it must be one of ${issue.values.join(", ")}` };
      return is(`is not one of ${issue.values.join(", ")}`);
    case "invalid_union":
      return explainUnion(issue, root);
    case "too_big":
      return is(
        `is too ${issue.origin === "number" || issue.origin === "int" ? "great" : "long"}: at most ${issue.maximum}`,
      );
    case "too_small":
      return is(
        `is too ${issue.origin === "number" || issue.origin === "int" ? "small" : "short"}: at least ${issue.minimum}`,
      );
    case "invalid_key":
      return { path, text: `${show(String(path.at(-1)))} ${issue.issues[0]?.message ?? "is not a valid key"}` };
    default:
      return typeof value === "object" ? { path, text: issue.message } : is(issue.message);
  }
}

/** All unions in requests are discriminated, so the discriminator is wrong. */
function explainUnion(issue: Extract<Issue, { code: "invalid_union" }>, root: unknown): { path: Path; text: string } {
  const { discriminator, options } = issue as { discriminator?: string; options?: readonly unknown[] };
  const path =
    discriminator !== undefined && issue.path.at(-1) !== discriminator ? [...issue.path, discriminator] : issue.path;
  const value = valueAt(root, path);
  const choices = options?.join(", ") ?? "the accepted shapes";
  return {
    path,
    text: value === undefined ? `is missing; it must be one of ${choices}` : `${show(value)} is not one of ${choices}`,
  };
}

/**
 * `claims[0]` and `["retention", "policy"]` make `claims[0].retention.policy`. Long keys are cut, because the caller
 * chooses them.
 */
export function pathText(root: string, path: Path): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === "number") return `${text}[${part}]`;
    const key = cut(String(part));
    return text === "" ? key : `${text}.${key}`;
  }, root);
}

function valueAt(root: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (value, part) =>
      typeof value === "object" && value !== null && Object.hasOwn(value, part) ? Reflect.get(value, part) : undefined,
    root,
  );
}

/** Returns the keys of the object schema at a path, through optional fields, arrays and discriminated unions. */
function acceptedKeys(schema: z.ZodType, value: unknown, path: Path): string[] {
  const { def } = schema as unknown as {
    def: {
      type: string;
      innerType?: z.ZodType;
      element?: z.ZodType;
      shape?: Record<string, z.ZodType>;
      options?: z.ZodType[];
    };
  };
  if (def.innerType) return acceptedKeys(def.innerType, value, path);
  const chosen = def.options?.find(option => accepts(option, value));
  if (chosen) return acceptedKeys(chosen, value, path);
  const [part, ...rest] = path;
  if (part === undefined) return Object.keys(def.shape ?? {});
  const next = def.element ?? def.shape?.[String(part)];
  return next === undefined ? [] : acceptedKeys(next, valueAt(value, [part]), rest);
}

/** True if unknown keys are the schema's only issue. */
function accepts(option: z.ZodType, value: unknown): boolean {
  const result = option.safeParse(value);
  return result.success || result.error.issues.every(issue => issue.code === "unrecognized_keys");
}

function show(value: unknown): string {
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "object" && value !== null) return "an object";
  return cut(JSON.stringify(value) ?? "nothing");
}

const cut = (text: string): string => (text.length > 80 ? `${text.slice(0, 77)}...` : text);

const ARTICLES: Record<string, string> = {
  int: "a whole number",
  object: "an object",
  array: "a list",
  record: "an object of strings",
};
const article = (expected: string): string => ARTICLES[expected] ?? `a ${expected}`;
