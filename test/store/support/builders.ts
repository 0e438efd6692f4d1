import assert from "node:assert/strict";
import {
  type Claim,
  LEASE_PREFIX,
  type NetworkManifest,
  type PortAttachment,
  type Release,
  type SubnetSpec,
} from "../../../ipam-server/contract/index.ts";
import type { Mutation, Outcome } from "../../../ipam-server/domain/model/mutation.ts";
import type { Store } from "../../../ipam-server/domain/store.ts";

export const START = Date.parse("2026-11-20T08:00:00.000Z");
export const REUSE_DELAY_MS = 60_000;

/** 4,096 addresses of 10.0.0.0/16, none adjacent to another: each pool between them has one address. */
export const EVERY_OTHER = Array.from({ length: 4096 }, (_, index) => `10.0.${index >> 7}.${(index & 127) * 2 + 1}`);

/** A clock that only tests move. */
export class Clock {
  now = START;
  readonly read = (): number => this.now;
  pass(ms: number): void {
    this.now += ms;
  }
}

export function network(
  name: string,
  vlan: number,
  subnets: SubnetSpec[],
  spec: Partial<NetworkManifest["spec"]> = {},
  labels: Record<string, string> = { env: "test" },
): NetworkManifest {
  return {
    apiVersion: "mooring.dev/v1",
    kind: "Network",
    metadata: { name, labels },
    spec: { segment: { type: "vlan", id: vlan, physicalNetwork: "physnet1" }, subnets, ...spec },
  };
}

/** By default pod `uid` in sandbox `uid` on the host. */
export function claim(name: string, host: string, uid: string, more: Partial<Claim> = {}): Mutation {
  const at = new Date(START).toISOString();
  return {
    kind: "claim",
    caller: "test",
    claim: {
      name,
      host,
      sandbox: { id: uid, interface: "eth0" },
      owner: { kind: "pod", uid, createdAt: at },
      networkSelector: "env=test",
      ...more,
    },
  };
}

/** A pod of an application that asks for one of its slots. */
export function slotClaim(application: string, host: string, uid: string, more: Partial<Claim> = {}): Mutation {
  const item = claim("", host, uid, { retention: { policy: "sticky" }, slotOf: { application }, ...more });
  if (item.kind === "claim" && more.name === undefined) delete item.claim.name;
  return item;
}

/** What the node's agent asks for a pod yet to come. */
export function leaseClaim(host: string, serial: string, more: Partial<Claim> = {}): Mutation {
  const owner = { kind: "lease", uid: `agent-${host}`, createdAt: new Date(START).toISOString() } as const;
  const { name, networkSelector, ...rest } = more;
  const request = { name: name ?? `${LEASE_PREFIX}${host}/${serial}`, networkSelector: networkSelector ?? "env=test" };
  return { kind: "claim", caller: "test", claim: { ...request, host, owner, ...rest } };
}

/** The owner's age, in seconds after the others'. */
export const bornAt = (uid: string, seconds: number): Claim["owner"] => ({
  kind: "pod",
  uid,
  createdAt: new Date(START + seconds * 1000).toISOString(),
});

/** By default from the host itself, after it has unplugged the sandbox. */
export function release(host: string, sandboxId: string, more: Partial<Release> = {}): Mutation {
  const sandbox = { id: sandboxId, interface: "eth0" };
  return { kind: "release", caller: "test", release: { host, sandbox, unplugged: true, ...more } };
}

/** Commits one item and answers its outcome. */
export async function commitOne(store: Store, item: Mutation): Promise<Outcome> {
  const [outcome] = await store.commit([item]);
  assert.ok(outcome);
  return outcome;
}

export function attached(outcome: Outcome | undefined): PortAttachment {
  if (!outcome || !("segment" in outcome))
    throw new assert.AssertionError({ message: `no port: ${JSON.stringify(outcome)}` });
  return outcome;
}

export async function attach(store: Store, item: Mutation): Promise<PortAttachment> {
  return attached(await commitOne(store, item));
}

export function refused(outcome: Outcome | undefined, code: string, pattern?: RegExp): void {
  if (!outcome || !("problem" in outcome))
    throw new assert.AssertionError({ message: `no problem: ${JSON.stringify(outcome)}` });
  assert.equal(outcome.problem.code, code, outcome.problem.detail);
  if (pattern) assert.match(outcome.problem.detail, pattern);
}

export const addressesOf = ({ port }: Pick<PortAttachment, "port">): string[] =>
  port.fixedIps.map(({ address }) => address);

export async function assertHealthy(store: Store): Promise<void> {
  assert.deepEqual(await store.check(), []);
}
