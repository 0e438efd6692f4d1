import type { Mutation } from "../../../ipam-server/domain/model/mutation.ts";
import type { Store } from "../../../ipam-server/domain/store.ts";
import { claim } from "./builders.ts";

/** A pod's claim of a leased port on its host. */
export const takeLease = (leasedPort: string, name: string, host: string, uid: string, more = {}): Mutation =>
  claim(name, host, uid, { leasedPort, ...more });

/** A node's release of a lease that no pod has. */
export const returnLease = (name: string, host: string, ownerUid: string): Mutation => ({
  kind: "release",
  caller: "test",
  release: { name, host, ownerUid },
});

export const namesOf = async (store: Store) => (await store.readPorts({})).ports.map(({ name }) => name).sort();
