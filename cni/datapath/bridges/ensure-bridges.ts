import type { DatapathContext } from "../datapath-context.ts";
import { DatapathError } from "../datapath-error.ts";
import { Deadline } from "../deadline.ts";
import { fetchLink } from "../netlink/link.ts";
import { applyOperations } from "../ovsdb/apply.ts";
import { TransactionError } from "../ovsdb/client.ts";
import { select } from "../ovsdb/ports.ts";
import { readInteger } from "../ovsdb/value.ts";
import { type BridgePlan, type DatapathType, planBridges, type Uplink } from "./bridge-plan.ts";
import { fetchTopology, findPort, type OvsTopology } from "./topology.ts";

/** Retries because another process may create the same rows at the same time. */
const ATTEMPTS = 3;

/**
 * Makes missing bridges, patch pairs and uplinks in one transaction, and returns what it made. Idempotent. Uses existing
 * ones as they are, because administrators may have made them.
 */
export async function ensureBridges(context: DatapathContext, plan: BridgePlan): Promise<string[]> {
  for (let attempt = 1; ; attempt++) {
    const deadline = new Deadline(context.timeoutMs);
    const found = await fetchTopology(context.ovsdb, deadline);
    const type = deriveType(found, plan);
    const missingUplinks = await findMissingUplinks(context, plan, found, deadline);
    const { operations, made, bridges } = planBridges(found, plan, type ?? "system", missingUplinks);
    try {
      if (operations.length > 0) await applyOperations(context.ovsdb, operations, deadline);
    } catch (error) {
      if (!(error instanceof TransactionError)) throw error;
      if (attempt < ATTEMPTS) continue;
      throw new DatapathError("bridge", `OVSDB rejected creating ${made.join(", ")}: ${error.message}`, error);
    }
    if (bridges.length > 0 && type === undefined) await chooseWorkingType(context, bridges, deadline);
    const [absent] = missingUplinks;
    if (absent !== undefined) {
      throw new DatapathError(
        "bridge",
        `the uplink ${absent.port} of ${absent.bridge} is not an interface of this host`,
      );
    }
    return made;
  }
}

/** Patch ports connect bridges of one datapath type only. Undefined: neither an existing bridge nor the plan decides it. */
function deriveType(found: OvsTopology, plan: BridgePlan): DatapathType | undefined {
  const names = [plan.integration, ...plan.mappings.map(({ bridge }) => bridge)];
  const ours = found.bridges.filter(({ name }) => names.includes(name));
  const [first, ...rest] = ours;
  const other = rest.find(bridge => bridge.datapathType !== first?.datapathType);
  if (first !== undefined && other !== undefined) {
    const types = `${first.name} is ${first.datapathType} and ${other.name} is ${other.datapathType}`;
    throw new DatapathError("bridge", `${types}: bridges that are joined must have the same datapath_type`);
  }
  const model = first ?? (plan.datapathType === "auto" ? found.bridges[0] : undefined);
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
