import type { Claim } from "../../ipam-server/contract/index.ts";
import { derivePort } from "../port-name.ts";
import { parseCniArgs } from "../spec/cni-args.ts";
import { CNI_CODES, CniError } from "../spec/cni-error.ts";
import { parseIps, parseMac } from "../spec/wishes.ts";
import type { VerbCall } from "./home.ts";

/** The claim an ADD makes; CHECK derives the same name from it. */
export function deriveClaim({ invocation, config, home }: VerbCall): Claim {
  const node = home.identify(config);
  if (node === undefined) {
    const socket = config.upstream.kind === "agent" ? config.upstream.socket : "?";
    throw new CniError(CNI_CODES.tryAgain, `the agent at ${socket} does not answer: check that it runs on this node`);
  }
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
    home.now(),
  );
  const ips = config.wishes.ips ?? (args.ip !== undefined ? parseIps(args.ip.split(","), refuseArg("IP")) : undefined);
  const mac = config.wishes.mac ?? (args.mac !== undefined ? parseMac(args.mac, refuseArg("MAC")) : undefined);
  return {
    ...identity,
    cluster: node.cluster,
    host: node.host,
    ...(config.availabilityZone !== undefined && { availabilityZone: config.availabilityZone }),
    ...(config.physicalNetworks !== undefined && { physicalNetworks: config.physicalNetworks }),
    sandbox: { id: containerId, interface: ifname },
    networkSelector: config.networkSelector,
    ...(config.families !== undefined && { families: config.families }),
    ...(Object.keys(config.labels).length > 0 && { labels: config.labels }),
    ...(ips !== undefined && { ips }),
    ...(mac !== undefined && { mac }),
  };
}

function refuseArg(key: string): (takes: string, found: unknown) => CniError {
  return (takes, found) =>
    new CniError(CNI_CODES.invalidEnvironment, `CNI_ARGS: ${key} takes ${takes}, not ${JSON.stringify(found)}`);
}
