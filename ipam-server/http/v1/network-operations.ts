import { IpamError } from "../../contract/index.ts";
import { matches, parseSelector } from "../../domain/model/selector.ts";
import { type NetworkEdit, onlyNew, withSubnet } from "../../domain/networks/network-edit.ts";
import type { Store } from "../../domain/store.ts";
import { type Operation, operation } from "../operation.ts";
import { networkName } from "./schema/fields.ts";
import * as requests from "./schema/requests.ts";
import * as responses from "./schema/responses.ts";

const ONE = "/v1/networks/{name}";
const params = { name: networkName };

export function networkOperations(store: Store): Operation[] {
  const put = async (edit: NetworkEdit, caller: string) => {
    const answer = await store.putNetwork(edit, caller);
    return { status: answer.outcome === "created" ? 201 : 200, json: answer };
  };

  return [
    operation({
      method: "GET",
      path: "/v1/networks",
      id: "listNetworks",
      summary: "All networks, or those whose labels match, with their subnets and counters",
      action: "read",
      read: "short",
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
      handle: ({ body, caller }) => put(onlyNew(body), caller.name),
    }),
    operation({
      method: "GET",
      path: ONE,
      id: "readNetwork",
      summary: "One network",
      action: "read",
      read: "short",
      params,
      responses: { 200: { about: "The network", schema: responses.network } },
      handle: async ({ params }) => ({ status: 200, json: await store.readNetwork(params.name ?? "") }),
    }),
    operation({
      method: "PUT",
      path: ONE,
      id: "putNetwork",
      summary: "Declare a network: creates or changes it; rejects a change that would orphan a held address",
      action: "writeNetworks",
      params,
      body: requests.networkManifest,
      responses: {
        200: { about: "Changed or unchanged", schema: responses.putNetworkResponse },
        201: { about: "Created", schema: responses.putNetworkResponse },
      },
      handle: ({ params, body, caller }) => {
        if (body.metadata.name !== params.name) {
          const detail = `metadata.name: "${body.metadata.name}" is not the name in the path, ${params.name}`;
          throw new IpamError("invalid_request", detail, { field: "metadata.name" });
        }
        return put(body, caller.name);
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
      read: "short",
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
      async handle({ params, body, caller }) {
        const { json } = await put(withSubnet(params.name ?? "", body), caller.name);
        return { status: 201, json };
      },
    }),
  ];
}
