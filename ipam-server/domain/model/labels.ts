import { IpamError, type Labels } from "../../contract/index.ts";

/**
 * Kubernetes' label syntax (Kubernetes documentation, "Labels and Selectors", syntax and character set): a key is
 * `[prefix/]name`, the prefix a DNS subdomain; a value may be empty.
 */
const NAME = /^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$/;
const DNS_SUBDOMAIN = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;
const MAX_NAME_LENGTH = 63;
const MAX_PREFIX_LENGTH = 253;

const NAME_RULE = `1 to ${MAX_NAME_LENGTH} letters, digits, "-", "_" or ".", beginning and ending with a letter or digit`;

const isName = (text: string) => text.length <= MAX_NAME_LENGTH && NAME.test(text);

/** Returns what a label key must be if this text is none, else undefined. */
export function expectedLabelKey(key: string): string | undefined {
  const slash = key.indexOf("/");
  const prefix = key.slice(0, Math.max(slash, 0));
  if (slash >= 0 && (prefix.length > MAX_PREFIX_LENGTH || !DNS_SUBDOMAIN.test(prefix))) {
    return `a label key's prefix (before "/") that is a lower-case DNS subdomain of at most ${MAX_PREFIX_LENGTH} characters, such as "example.com"`;
  }
  if (isName(key.slice(slash + 1))) return undefined;
  return slash < 0 ? `a label key: ${NAME_RULE}` : `a label key's name (after "/"): ${NAME_RULE}`;
}

/** Returns what a label value must be if this text is none, else undefined. */
export function expectedLabelValue(value: string): string | undefined {
  return value === "" || isName(value) ? undefined : `a label value: empty, or ${NAME_RULE}`;
}

/**
 * Throws `invalid_request` at the first invalid label.
 * @param field where the labels stand in the request, such as `metadata.labels`
 */
export function validateLabels(labels: Labels, field: string): void {
  for (const [key, value] of Object.entries(labels)) {
    const where = `${field}.${key}`;
    const keyFault = expectedLabelKey(key);
    if (keyFault !== undefined) fail(where, `has the key ${JSON.stringify(key)}`, keyFault);
    const valueFault = expectedLabelValue(value);
    if (valueFault !== undefined) fail(where, `is ${JSON.stringify(value)}`, valueFault);
  }
}

function fail(where: string, given: string, accepted: string): never {
  throw new IpamError("invalid_request", `${where} ${given}; expected ${accepted}`, { field: where });
}
