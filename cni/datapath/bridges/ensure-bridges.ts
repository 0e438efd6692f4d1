import type { DatapathContext } from "../datapath-context.ts";
import { DatapathError } from "../datapath-error.ts";
import { Deadline } from "../deadline.ts";
import { fetchLink } from "../netlink/link.ts";
import { applyOperations } from "../ovsdb/apply.ts";
import { TransactionError } from "../ovsdb/client.ts";
import { select } from "../ovsdb/ports.ts";
import { readInteger } from "../ovsdb/value.ts";
import { type BridgePlan, bridgesOf, type DatapathType, findJoined, planBridges, type Uplink } from "./bridge-plan.ts";
import type { IntegrationBridge } from "./integration-bridges.ts";
import { fetchTopology, findPort, type OvsTopology } from "./topology.ts";

/** Retries because another process may create the same rows at the same time. */
const ATTEMPTS = 3;

/**
 * Makes missing bridges, patch pairs and uplinks in one transaction, which also removes our patch ports that lead to the
 * wrong bridge, and returns what it changed. Idempotent. Uses bridges of others as they are.
 */
export async function ensureBridges(context: DatapathContext, plan: BridgePlan): Promise<string[]> {
  for (let attempt = 1; ; attempt++) {
    const deadline = new Deadline(context.timeoutMs);
    const found = await fetchTopology(context.ovsdb, deadline);
    const types = new Map(plan.integrations.map(integration => [integration, deriveType(found, plan, integration)]));
    const missingUplinks = await findMissingUplinks(context, plan, found, deadline);
    const typeOf = (integration: IntegrationBridge) => types.get(integration) ?? "system";
    const { operations, changes, bridges } = planBridges(found, plan, typeOf, missingUplinks);
    try {
      if (operations.length > 0) await applyOperations(context.ovsdb, operations, deadline);
    } catch (error) {
      if (!(error instanceof TransactionError)) throw error;
      if (attempt < ATTEMPTS) continue;
      throw new DatapathError("bridge", `OVSDB rejected changing ${changes.join(", ")}: ${error.message}`, error);
    }
    const undecided = plan.integrations.filter(integration => types.get(integration) === undefined);
    const untyped = undecided.flatMap(bridgesOf).filter(name => bridges.includes(name));
    if (untyped.length > 0) await chooseWorkingType(context, untyped, deadline);
    const joined = findJoined(found, plan);
    if (joined !== undefined) {
      const why = "patch ports that Mooring did not make join them; remove these (ovs-vsctl del-port)";
      throw new DatapathError("bridge", `${joined.join(" and ")} are of different physical networks, but ${why}`);
    }
    const [absent] = missingUplinks;
    if (absent !== undefined) {
      throw new DatapathError(
        "bridge",
        `the uplink ${absent.port} of ${absent.bridge} is not an interface of this host`,
      );
    }
    return changes;
  }
}

/**
 * Patch ports connect bridges of one datapath type only. Undefined: neither an existing bridge nor the plan decides it.
 */
function deriveType(found: OvsTopology, plan: BridgePlan, integration: IntegrationBridge): DatapathType | undefined {
  const find = (names: readonly string[]) => found.bridges.filter(({ name }) => names.includes(name));
  const [first, second] = find(bridgesOf(integration));
  if (first !== undefined && second !== undefined && first.datapathType !== second.datapathType) {
    const types = `${first.name} is ${first.datapathType} and ${second.name} is ${second.datapathType}`;
    throw new DatapathError("bridge", `${types}: bridges that are joined must have the same datapath_type`);
  }
  const [planned] = find(plan.integrations.flatMap(bridgesOf));
  const model = first ?? (plan.datapathType === "auto" ? (planned ?? found.bridges[0]) : undefined);
  if (model !== undefined) return model.datapathType === "netdev" ? "netdev" : "system";
  return plan.datapathType === "auto" ? undefined : plan.datapathType;
}

async function findMissingUplinks(
  context: DatapathContext,
  plan: BridgePlan,
  found: OvsTopology,
  deadline: Deadline,
): Promise<Uplink[]> {
  const missing: Uplink[] = [];
  for (const uplink of plan.uplinks) {
    if (findPort(found, uplink.port) !== undefined) continue;
    const link = await fetchLink(await context.hostSocket(), uplink.port, deadline);
    if (link === undefined) missing.push(uplink);
  }
  return missing;
}

/**
 * Makes new bridges `netdev` where the kernel has no openvswitch module: OVS lists both datapath types there, but a kernel
 * bridge's local port never gets an ofport.
 */
async function chooseWorkingType(context: DatapathContext, bridges: string[], deadline: Deadline): Promise<void> {
  const locals = bridges.map(name => ({
    op: "select",
    table: "Interface",
    where: [["name", "==", name]],
    columns: ["ofport"],
  }));
  const rows = (await select(context.ovsdb, locals, deadline)).flat();
  if (rows.every(row => readInteger(row, "ofport") !== undefined && readInteger(row, "ofport") !== -1)) return;
  const updates = bridges.map(name => {
    return { op: "update", table: "Bridge", where: [["name", "==", name]], row: { datapath_type: "netdev" } };
  });
  await applyOperations(context.ovsdb, updates, deadline);
}
