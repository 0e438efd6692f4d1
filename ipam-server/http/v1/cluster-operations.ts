import type { PurgeResponse } from "../../contract/index.ts";
import { toCurrent } from "../../domain/clusters/change-cluster.ts";
import type { Store } from "../../domain/store.ts";
import type { CommitQueue } from "../../engine/commit-queue.ts";
import { type Operation, operation } from "../operation.ts";
import { clusterName } from "./schema/fields.ts";
import * as requests from "./schema/requests.ts";
import * as responses from "./schema/responses.ts";

const ONE = "/v1/clusters/{name}";
const params = { name: clusterName };
/** Ports that one request of a purge looks at. */
const PURGE_PAGE = 500;

/** Which Kubernetes cluster a name belongs to, what its controller holds back, and the purge of a retired one. */
export function clusterOperations(store: Store, batcher: CommitQueue): Operation[] {
  const changed = async (...change: Parameters<Store["changeCluster"]>) => {
    const after = await store.changeCluster(...change);
    return { status: 200, json: after && toCurrent(after, Date.now()) };
  };
  return [
    operation({
      method: "GET",
      path: "/v1/clusters",
      id: "listClusters",
      summary: "The registered clusters",
      action: "read",
      read: "short",
      responses: { 200: { about: "All clusters by name", schema: responses.clusterList } },
      async handle() {
        const clusters = await store.readClusters();
        return { status: 200, json: { clusters: clusters.map(each => toCurrent(each, Date.now())) } };
      },
    }),
    operation({
      method: "PUT",
      path: ONE,
      id: "registerCluster",
      summary: "Register the UID of a cluster's kube-system under its name; another UID is a conflict",
      action: "registerCluster",
      params,
      body: requests.clusterRegistration,
      responses: { 200: { about: "Registered", schema: responses.cluster } },
      async handle({ params, body, caller }) {
        const { name = "" } = params;
        // A store without networks stays empty, so that an export can be imported while agents and controllers wait.
        const isKnown = (await store.readClusters()).some(cluster => cluster.name === name);
        if (!isKnown && (await store.readNetworks()).length === 0) {
          return { status: 200, json: { name, uid: body.uid, registeredAt: new Date().toISOString() } };
        }
        return changed(name, { kind: "register", registration: body }, caller.name);
      },
    }),
    operation({
      method: "POST",
      path: `${ONE}/confirmations`,
      id: "confirmPass",
      summary: "Let the pass run that the cluster's controller holds, within ten minutes",
      action: "manageClusters",
      params,
      body: requests.passConfirmation,
      responses: { 200: { about: "Confirmed", schema: responses.cluster } },
      handle: ({ params, body, caller }) =>
        changed(params.name ?? "", { kind: "confirm", pass: body.pass }, caller.name),
    }),
    operation({
      method: "POST",
      path: `${ONE}/purge`,
      id: "purgeCluster",
      summary: "Remove ports of a retired cluster, bound ones too; repeat with nextCursor until it is absent",
      action: "manageClusters",
      params,
      body: requests.purgeRequest,
      responses: { 200: { about: "What was removed", schema: responses.purgeResponse } },
      async handle({ params, body, caller, timeoutMs }) {
        const cluster = params.name ?? "";
        const { ports, nextCursor } = await store.readPorts({ cluster, limit: PURGE_PAGE, ...body });
        const mutations = ports.map(({ name }) => ({ kind: "purgePort", name, cluster, caller: caller.name }) as const);
        const outcomes = mutations.length === 0 ? [] : await batcher.submit(mutations, timeoutMs);
        const count = (what: string) => outcomes.filter(each => "purged" in each && each.purged === what).length;
        const json: PurgeResponse = { deleted: count("deleted"), unbound: count("unbound"), kept: count("kept") };
        if (nextCursor !== undefined) json.nextCursor = nextCursor;
        return { status: 200, json };
      },
    }),
    operation({
      method: "DELETE",
      path: ONE,
      id: "removeCluster",
      summary: "Free a cluster's name for another cluster",
      action: "manageClusters",
      params,
      responses: { 204: { about: "Removed" } },
      async handle({ params, caller }) {
        await store.changeCluster(params.name ?? "", { kind: "remove" }, caller.name);
        return { status: 204 };
      },
    }),
  ];
}
