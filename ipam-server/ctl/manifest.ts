import { type Document, isMap, isScalar, LineCounter, parseAllDocuments } from "yaml";
import type { NetworkManifest } from "../contract/index.ts";
import { CtlError } from "./ctl-error.ts";

/** One document to apply, with its location for messages. */
export interface LocatedManifest {
  manifest: NetworkManifest;
  /** Such as `networks.yaml: document 2 (line 14)`. */
  where: string;
}

const API_VERSION = "mooring.dev/v1";
const KIND = "Network";
const TOP_KEYS = ["apiVersion", "kind", "metadata", "spec"];

/**
 * Parses one or more YAML documents and validates their outer shape; the server validates `spec`. Throws CtlError
 * `usage` that lists every fault. `source` is the file's name, for messages.
 */
export function parseManifests(source: string, text: string): LocatedManifest[] {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter: lines });
  const faults: string[] = [];
  const manifests: LocatedManifest[] = [];
  for (const [at, document] of [...documents].entries()) {
    const lineOf = (offset: number | undefined) => lines.linePos(offset ?? 0).line;
    const locate = (offset: number | undefined) => `${source}: document ${at + 1} (line ${lineOf(offset)})`;
    const [broken] = document.errors;
    if (broken) {
      faults.push(`${locate(broken.pos[0])} is not YAML: ${broken.message.split("\n")[0]}`);
      continue;
    }
    if (document.contents === null || (isScalar(document.contents) && document.contents.value === null)) continue;
    const found = findFaults(document);
    faults.push(...found.map(fault => `${locate(fault.offset)}: ${fault.text}`));
    if (found.length === 0) {
      manifests.push({ manifest: document.toJS() as NetworkManifest, where: locate(document.contents.range?.[0]) });
    }
  }
  if (faults.length > 0) throw new CtlError("usage", faults.join("\n  "), { advice: "Nothing was applied." });
  return manifests;
}

interface Fault {
  text: string;
  /** Offset in the file. */
  offset: number | undefined;
}

function findFaults(document: Document.Parsed): Fault[] {
  const root = document.contents;
  const faults: Fault[] = [];
  if (!isMap(root)) {
    return [{ text: `expected a mapping with ${TOP_KEYS.join(", ")}`, offset: offsetOf(root) }];
  }
  for (const { key } of root.items) {
    if (isScalar(key) && TOP_KEYS.includes(String(key.value))) continue;
    faults.push({ text: `unknown key ${JSON.stringify(key)}; expected ${TOP_KEYS.join(", ")}`, offset: offsetOf(key) });
  }
  const expect = (path: string[], expected: string, accepts: (node: unknown) => boolean) => {
    const node = document.getIn(path, true);
    if (accepts(node)) return;
    const found = node === undefined ? "is missing" : `is ${JSON.stringify(node)}`;
    // A missing node is reported at its parent.
    const offset = offsetOf(node) ?? offsetOf(document.getIn(path.slice(0, -1), true));
    faults.push({ text: `${path.join(".")} ${found}; expected ${expected}`, offset });
  };
  expect(["apiVersion"], API_VERSION, node => isScalar(node) && node.value === API_VERSION);
  expect(["kind"], KIND, node => isScalar(node) && node.value === KIND);
  expect(["metadata"], "a mapping with name and labels", isMap);
  if (isMap(document.get("metadata", true))) {
    expect(
      ["metadata", "name"],
      "a text",
      node => isScalar(node) && typeof node.value === "string" && node.value !== "",
    );
  }
  expect(["spec"], "a mapping with segment and subnets", isMap);
  return faults;
}

function offsetOf(node: unknown): number | undefined {
  const range = typeof node === "object" && node !== null && "range" in node ? node.range : undefined;
  return Array.isArray(range) ? range[0] : undefined;
}

/** Throws CtlError if a network is declared twice, because the result would depend on the order. */
export function assertNoRepetition(manifests: readonly LocatedManifest[]): void {
  const seen = new Map<string, string>();
  for (const { manifest, where } of manifests) {
    const { name } = manifest.metadata;
    const before = seen.get(name);
    if (before !== undefined) {
      throw new CtlError("usage", `${where} declares network ${JSON.stringify(name)} again, after ${before}`, {
        advice: "Keep one of them. Nothing was applied.",
      });
    }
    seen.set(name, where);
  }
}
