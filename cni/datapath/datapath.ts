import type { DatapathContext, PlugStep } from "./datapath-context.ts";
import { DatapathError, type DatapathStep } from "./datapath-error.ts";
import { Deadline } from "./deadline.ts";
import { findDifferences, findIdDifferences } from "./differences.ts";
import { list } from "./inventory.ts";
import { loadLibc } from "./kernel/libc.ts";
import { type LinkRemoval, removeAtOnce } from "./kernel/link-removal.ts";
import { openNetns } from "./kernel/netns.ts";
import { RouteSocket } from "./netlink/socket.ts";
import type { NodeDatapath } from "./node-datapath.ts";
import { fetchObservedState, fetchOvsState } from "./observed-state.ts";
import { OvsdbClient } from "./ovsdb/client.ts";
import { missingBridge, select, selectBridge } from "./ovsdb/ports.ts";
import { readUuid } from "./ovsdb/value.ts";
import { plug } from "./plug.ts";
import { announce } from "./pod/pod-interface.ts";
import { fence, unplug } from "./unplug.ts";

interface DatapathOptions {
  /** `unix:/run/openvswitch/db.sock` or `tcp:HOST:PORT`. */
  ovsdb: string;
  /** Limits each call; rolling back a failed plug gets the same time again. */
  timeoutMs: number;
  onStep?: (step: PlugStep) => void | Promise<void>;
  /** How host links are deleted. Default: synchronously, before `unplug` resolves. */
  removal?(openHost: () => Promise<RouteSocket>): LinkRemoval;
}

/** Connects at first use and keeps the connections until disposal. */
export function openDatapath({ ovsdb: remote, timeoutMs, onStep, removal }: DatapathOptions): NodeDatapath {
  const ovsdb = new OvsdbClient(remote);
  let hostSocket: Promise<RouteSocket> | undefined;
  const openHost = () => {
    hostSocket ??= RouteSocket.open().catch(error => {
      hostSocket = undefined;
      throw error;
    });
    return hostSocket;
  };
  const context: DatapathContext = {
    ovsdb,
    hostSocket: openHost,
    removal: (removal ?? removeAtOnce)(openHost),
    timeoutMs,
    ...(onStep && { onStep }),
  };
  return {
    plug: (attachment, probe) => as("configure", plug(context, attachment, probe)),
    probe: wanted =>
      as(
        "probe",
        import("./probe/probe.ts").then(({ probe }) => probe(context, wanted)),
      ),
    unplug: (sandboxId, containerInterface, netns) =>
      as("unplug", unplug(context, { sandboxId, containerInterface }, netns)),
    check: attachment =>
      as(
        "configure",
        (async () => {
          const deadline = new Deadline(timeoutMs);
          using netns = openNetns(await loadLibc(), attachment.netns);
          const state = await fetchOvsState(context, attachment, deadline);
          const snapshot = await fetchObservedState(context, attachment, netns, state, deadline);
          const { externalIds, mac } = attachment;
          const ids =
            externalIds && mac !== undefined ? findIdDifferences({ ...attachment, externalIds, mac }, snapshot) : [];
          return [...findDifferences(attachment, snapshot), ...ids];
        })(),
      ),
    list: () => as("ovs", list(context)),
    ready: bridges =>
      as(
        "ovs",
        (async () => {
          const found = await select(ovsdb, bridges.map(selectBridge), new Deadline(timeoutMs));
          const missing = bridges.find((_, index) => found[index]?.length === 0);
          if (missing !== undefined) throw missingBridge(missing);
        })(),
      ),
    // Loaded at first use, because the executable never needs them.
    ensureBridges: plan =>
      as(
        "bridge",
        import("./bridges/ensure-bridges.ts").then(({ ensureBridges }) => ensureBridges(context, plan)),
      ),
    removeOwnBridges: () =>
      as(
        "bridge",
        import("./bridges/remove-bridges.ts").then(({ removeOwnBridges }) => removeOwnBridges(context)),
      ),
    fence: sandbox => as("unplug", fence(context, sandbox)),
    replug: attachment =>
      as(
        "configure",
        import("./replug.ts").then(({ replug }) => replug(context, attachment)),
      ),
    announce: (netns, containerInterface) =>
      as("configure", announce(netns, containerInterface, new Deadline(timeoutMs))),
    restoreVlan: sandbox =>
      as(
        "ovs",
        import("./replug.ts").then(({ restoreVlan }) => restoreVlan(context, sandbox)),
      ),
    listLinks: () =>
      as(
        "veth",
        import("./replug.ts").then(({ listLinks }) => listLinks(context)),
      ),
    identify: () => as("ovs", identify(context)),
    [Symbol.asyncDispose]: async () => {
      ovsdb[Symbol.dispose]();
      await context.removal[Symbol.asyncDispose]();
      await (await hostSocket)?.[Symbol.asyncDispose]();
    },
  };
}

async function identify({ ovsdb, timeoutMs }: DatapathContext): Promise<string> {
  const root = { op: "select", table: "Open_vSwitch", where: [], columns: ["_uuid"] };
  const [[row] = []] = await select(ovsdb, [root], new Deadline(timeoutMs));
  if (row === undefined) throw new DatapathError("ovs", "OVSDB is empty; initialise it: ovs-vsctl --no-wait init");
  return readUuid(row);
}

/** Converts any failure to a DatapathError of this step. */
async function as<T>(step: DatapathStep, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof DatapathError) throw error;
    throw new DatapathError(step, error instanceof Error ? error.message : String(error), error);
  }
}
