import { IpamError, type Network, type NetworkManifest, type Subnet, type SubnetSpec } from "../contract/index.ts";
import { matches, parseSelector } from "../domain/selector.ts";
import type { Store } from "../domain/store.ts";
import { type Operation, operation } from "./operation.ts";
import { networkName } from "./schema/fields.ts";
import * as requests from "./schema/requests.ts";
import * as responses from "./schema/responses.ts";

const ONE = "/v1/networks/{name}";
const params = { name: networkName };

export function networkOperations(store: Store): Operation[] {
  const oneAtATime = createQueue();
  const put = async (manifest: NetworkManifest, caller: string) => {
    const answer = await store.putNetwork(manifest, caller);
    return { status: answer.outcome === "created" ? 201 : 200, json: answer };
  };

  return [
    operation({
      method: "GET",
      path: "/v1/networks",
      id: "listNetworks",
      summary: "All networks, or those whose labels match, with their subnets and counters",
      action: "read",
      query: requests.networkQuery,
      responses: { 200: { about: "The networks, by name", schema: responses.networkList } },
      async handle({ query }) {
        const selector = parseSelector(query.label ?? "", "label");
        const networks = (await store.readNetworks()).filter(({ labels }) => matches(selector, labels));
        return { status: 200, json: { networks } };
      },
    }),
    operation({
      method: "POST",
      path: "/v1/networks",
      id: "createNetwork",
      summary: "Create a network; one of that name must not exist",
      action: "writeNetworks",
      body: requests.networkManifest,
      responses: { 201: { about: "Created", schema: responses.putNetworkResponse } },
      handle: ({ body, caller }) =>
        oneAtATime(async () => {
          const { name } = body.metadata;
          if (await exists(store, name)) {
            throw new IpamError("conflict", `network ${name} exists; change it with PUT /v1/networks/${name}`);
          }
          return put(body, caller.name);
        }),
    }),
    operation({
      method: "GET",
      path: ONE,
      id: "readNetwork",
      summary: "One network",
      action: "read",
      params,
      responses: { 200: { about: "The network", schema: responses.network } },
      handle: async ({ params }) => ({ status: 200, json: await store.readNetwork(params.name ?? "") }),
    }),
    operation({
      method: "PUT",
      path: ONE,
      id: "putNetwork",
      summary: "Declare a network: creates or changes it, and refuses what would orphan a held address",
      action: "writeNetworks",
      params,
      body: requests.networkManifest,
      responses: {
        200: { about: "Changed, or as it was", schema: responses.putNetworkResponse },
        201: { about: "Created", schema: responses.putNetworkResponse },
      },
      handle: ({ params, body, caller }) => {
        if (body.metadata.name !== params.name) {
          const detail = `metadata.name: "${body.metadata.name}" is not the name in the path, ${params.name}`;
          throw new IpamError("invalid_request", detail, { field: "metadata.name" });
        }
        return oneAtATime(() => put(body, caller.name));
      },
    }),
    operation({
      method: "DELETE",
      path: ONE,
      id: "deleteNetwork",
      summary: "Delete a network that holds no address",
      action: "writeNetworks",
      params,
      responses: { 204: { about: "Deleted" } },
      async handle({ params, caller }) {
        await store.deleteNetwork(params.name ?? "", caller.name);
        return { status: 204 };
      },
    }),
    operation({
      method: "GET",
      path: `${ONE}/subnets`,
      id: "listSubnets",
      summary: "The subnets of a network with their counters",
      action: "read",
      params,
      responses: { 200: { about: "The subnets", schema: responses.subnetList } },
      handle: async ({ params }) => {
        const { subnets } = await store.readNetwork(params.name ?? "");
        return { status: 200, json: { subnets } };
      },
    }),
    operation({
      method: "POST",
      path: `${ONE}/subnets`,
      id: "addSubnet",
      summary: "Add one subnet to a network",
      action: "writeNetworks",
      params,
      body: requests.subnetSpec,
      responses: { 201: { about: "Added", schema: responses.putNetworkResponse } },
      handle: ({ params, body, caller }) =>
        oneAtATime(async () => {
          const network = await store.readNetwork(params.name ?? "");
          if (network.subnets.some(({ cidr }) => cidr === body.cidr)) {
            throw new IpamError("conflict", `network ${network.name} has subnet ${body.cidr}; change it with PUT`);
          }
          const { json } = await put(toManifest(network, body), caller.name);
          return { status: 201, json };
        }),
    }),
  ];
}

async function exists(store: Store, name: string): Promise<boolean> {
  try {
    await store.readNetwork(name);
    return true;
  } catch (error) {
    if (error instanceof IpamError && error.code === "not_found") return false;
    throw error;
  }
}

/** What would have to be declared to get this network, and the subnet beside it. */
function toManifest(network: Network, added: SubnetSpec): NetworkManifest {
  const { name, labels, vpc, availabilityZone, segment, mtu } = network;
  return {
    apiVersion: "mooring.dev/v1",
    kind: "Network",
    metadata: { name, labels },
    spec: {
      vpc,
      ...(availabilityZone !== undefined && { availabilityZone }),
      segment,
      mtu,
      subnets: [...network.subnets.map(toSpec), added],
    },
  };
}

function toSpec({ cidr, gateway, pools, exclude, routes, dns }: Subnet): SubnetSpec {
  return { cidr, ...(gateway !== undefined && { gateway }), pools, exclude, routes, dns };
}

/** Read, think and put must not interleave with another's: tasks run in order of arrival. */
function createQueue(): <T>(task: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return task => {
    const next = last.then(task, task);
    last = next.catch(() => undefined);
    return next;
  };
}
