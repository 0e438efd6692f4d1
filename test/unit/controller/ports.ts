import type { Port } from "../../../ipam-server/contract/index.ts";

export const POD_UID = "8e5c0000-0000-4000-8000-000000000002";

/** `web-2` of StatefulSet `shop/web` in cluster `c1`, unbound. */
export function stickyPort(change: Partial<Port> = {}): Port {
  return {
    name: "c1/shop/web-2",
    id: "port-1",
    network: "prod",
    mac: "0a:58:0a:64:00:05",
    fixedIps: [{ address: "10.100.0.5", subnet: "10.100.0.0/16", prefixLength: 16 }],
    labels: {},
    retention: { policy: "sticky" },
    owner: { kind: "pod", uid: POD_UID, createdAt: "2026-11-20T08:00:00.000Z" },
    cluster: "c1",
    namespace: "shop",
    workload: { kind: "StatefulSet", namespace: "shop", name: "web", uid: "set-uid", ordinal: 2 },
    epoch: 3,
    underlay: "DOWN",
    overlay: "DOWN",
    state: "DOWN_DOWN",
    createdAt: "2026-11-20T08:00:00.000Z",
    updatedAt: "2026-11-20T08:00:00.000Z",
    ...change,
  };
}

/** The same, bound on `node-a`. */
export function boundPort(change: Partial<Port> = {}): Port {
  return stickyPort({
    binding: {
      host: "node-a",
      ownerUid: POD_UID,
      sandbox: { id: "4c1f", interface: "eth0" },
      boundAt: "2026-11-20T08:00:00.000Z",
    },
    ...change,
  });
}
