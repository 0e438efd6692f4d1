import type { Command } from "commander";
import { parse as parseYaml } from "yaml";
import { findNearest } from "./nearest-word.ts";

/**
 * One way to configure every program: an option is a flag (`--reuse-delay`), an environment variable
 * (`MOORING_REUSE_DELAY`) and a key of the `--config` file (`reuseDelay`), all three derived from the key.
 * Precedence: flag, environment, file, default. One parser reads all sources, so a value means the same in each.
 */
export interface OptionSpec<T = unknown> {
  about: string;
  /** Name of the value in `--help`; absent: a switch without a value. */
  placeholder?: string;
  /** As a user writes it. */
  default?: string;
  /** Throws an Error whose message completes "VALUE ...", such as `is not a duration`. */
  parse(text: string): T;
  /** Hides secrets of the value in messages; absent: it has none. */
  show?(text: string): string;
}
export type OptionSpecs = Record<string, OptionSpec>;

export type OptionValues<S extends OptionSpecs> = {
  [K in keyof S]: S[K] extends { default: string } ? ReturnType<S[K]["parse"]> : ReturnType<S[K]["parse"]> | undefined;
};

interface OptionSources {
  /** `command.opts()` after parsing. */
  flags: Record<string, unknown>;
  env: Record<string, string | undefined>;
  readFile(path: string): string;
}

/** A wrong flag, environment variable or file. The message names the source, the value and what is accepted. */
export class OptionError extends Error {
  override readonly name = "OptionError";
}

export const flagOf = (key: string): string => `--${kebab(key)}`;
export const envOf = (key: string): string => `MOORING_${kebab(key).replaceAll("-", "_").toUpperCase()}`;

/** Declares the flags, and `--config`, on a commander command; `--help` shows flag, environment variable and key. */
export function addOptions(command: Command, specs: OptionSpecs): Command {
  for (const [key, { about, placeholder, default: fallback }] of Object.entries(specs)) {
    const facts = [...(fallback === undefined ? [] : [`default ${fallback}`]), `env ${envOf(key)}`, `key ${key}`];
    command.option(placeholder ? `${flagOf(key)} <${placeholder}>` : flagOf(key), `${about} (${facts.join(", ")})`);
  }
  return command.option("--config <file>", "YAML file with any of the keys above (env MOORING_CONFIG)");
}

/** The values of all options. Throws OptionError. */
export function readOptions<S extends OptionSpecs>(specs: S, { flags, env, readFile }: OptionSources): OptionValues<S> {
  const path = textOf(flags.config) ?? nonEmpty(env.MOORING_CONFIG);
  const file = path === undefined ? {} : readConfigFile(path, specs, readFile);
  const values: Record<string, unknown> = {};
  for (const [key, spec] of Object.entries(specs)) {
    const candidates: [string | undefined, string][] = [
      [textOf(flags[key]), flagOf(key)],
      [nonEmpty(env[envOf(key)]), envOf(key)],
      [textOf(file[key]), `${path}: ${key}`],
      [spec.default, `the default of ${flagOf(key)}`],
    ];
    const [text, source] = candidates.find(([candidate]) => candidate !== undefined) ?? [undefined, ""];
    values[key] = text === undefined ? undefined : parseFrom(source, text, spec);
  }
  return values as OptionValues<S>;
}

/** The value of an option that has no default. Throws OptionError, which ends with the hint, if it was not given. */
export function requireOption<T>(value: T | undefined, key: string, hint: string): T {
  if (value === undefined) throw new OptionError(`${flagOf(key)}: is missing; ${hint}`);
  return value;
}

function parseFrom(source: string, text: string, spec: OptionSpec): unknown {
  try {
    return spec.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new OptionError(`${source}: "${spec.show?.(text) ?? text}" ${reason}`, { cause: error });
  }
}

function readConfigFile(path: string, specs: OptionSpecs, readFile: (path: string) => string): Record<string, unknown> {
  let content: unknown;
  try {
    content = parseYaml(readFile(path)) ?? {};
  } catch (error) {
    throw new OptionError(`--config ${path}: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
  if (typeof content !== "object" || content === null || Array.isArray(content)) {
    throw new OptionError(`--config ${path}: is not a YAML mapping of keys to values`);
  }
  const known = Object.keys(specs);
  for (const [key, value] of Object.entries(content)) {
    if (!known.includes(key)) {
      const nearest = findNearest(key, known);
      const hint = nearest === undefined ? "--help lists the keys" : `did you mean "${nearest}"?`;
      throw new OptionError(`--config ${path}: unknown key "${key}"; ${hint}`);
    }
    if (typeof value === "object" && value !== null) {
      throw new OptionError(`--config ${path}: ${key}: takes one value, not a list or mapping`);
    }
  }
  return content as Record<string, unknown>;
}

const kebab = (key: string): string => key.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`);
const nonEmpty = (text: string | undefined): string | undefined => (text === "" ? undefined : text);
const textOf = (value: unknown): string | undefined =>
  value === undefined || value === null ? undefined : String(value);
