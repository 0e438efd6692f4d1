import type { Claim } from "../../ipam-server/contract/index.ts";
import { parseCniArgs } from "../spec/cni-args.ts";
import { CNI_CODES, CniError } from "../spec/cni-error.ts";
import { parseIps, parseMac } from "../spec/requested-addresses.ts";
import type { CallFacts } from "./backend.ts";
import { derivePort } from "./port-name.ts";

/** Derives the claim in direct mode: of the pod that CNI_ARGS names, else of the container. */
export function deriveClaim(
  { invocation, config }: CallFacts,
  node: { host: string; cluster: string },
  now: Date,
): Claim {
  const args = parseCniArgs(invocation.args);
  const { podName, podNamespace, podUid } = args;
  const pod =
    podName !== undefined && podNamespace !== undefined
      ? { namespace: podNamespace, name: podName, ...(podUid !== undefined && { uid: podUid }) }
      : undefined;
  const { containerId, ifname } = invocation;
  const identity = derivePort(
    { cluster: node.cluster, containerId, ifname, ...(pod !== undefined && { pod }) },
    config.retention ?? { policy: "ephemeral" },
    now,
  );
  return {
    ...identity,
    cluster: node.cluster,
    host: node.host,
    ...(config.availabilityZone !== undefined && { availabilityZone: config.availabilityZone }),
    ...(config.physicalNetworks !== undefined && { physicalNetworks: config.physicalNetworks }),
    sandbox: { id: containerId, interface: ifname },
    attemptedAt: now.toISOString(),
    networkSelector: config.networkSelector,
    ...(config.families !== undefined && { families: config.families }),
    ...(Object.keys(config.labels).length > 0 && { labels: config.labels }),
    ...deriveRequested({ invocation, config }),
  };
}

/** Requested addresses and MAC: `runtimeConfig` overrides `args.cni`, which overrides CNI_ARGS. */
export function deriveRequested({ invocation, config }: CallFacts): { ips?: string[]; mac?: string } {
  const args = parseCniArgs(invocation.args);
  const ips =
    config.requested.ips ?? (args.ip !== undefined ? parseIps(args.ip.split(","), argError("IP")) : undefined);
  const mac = config.requested.mac ?? (args.mac !== undefined ? parseMac(args.mac, argError("MAC")) : undefined);
  return { ...(ips !== undefined && { ips }), ...(mac !== undefined && { mac }) };
}

function argError(key: string): (takes: string, found: unknown) => CniError {
  return (takes, found) =>
    new CniError(CNI_CODES.invalidEnvironment, `CNI_ARGS: ${key} takes ${takes}, not ${JSON.stringify(found)}`);
}
