import assert from "node:assert/strict";
import type { Store } from "../../../../ipam-server/domain/store.ts";
import { addressesOf } from "./claim-promises.ts";
import type { Model } from "./model.ts";

/** Everything that was acknowledged is there, and nothing else; every counter is right. */
export async function assertSame(model: Model, store: Store): Promise<void> {
  assert.deepEqual(await store.check(), []);
  const { ports, nextCursor } = await store.readPorts({ limit: 1000 });
  assert.equal(nextCursor, undefined);
  const found = ports.map(port => ({
    name: port.name,
    id: port.id,
    network: port.network,
    addresses: addressesOf(port),
    mac: port.mac,
    retention: port.retention,
    epoch: port.epoch,
    host: port.binding?.host,
    sandboxId: port.binding?.sandbox?.id,
    inactive: port.inactiveBinding && {
      host: port.inactiveBinding.host,
      sandboxId: port.inactiveBinding.sandbox?.id,
      ownerUid: port.inactiveBinding.ownerUid,
      epoch: port.inactiveBinding.epoch,
    },
    underlay: port.underlay,
    expiresAt: port.binding || port.expiresAt === undefined ? undefined : Date.parse(port.expiresAt),
  }));
  const known = [...model.ports].map(([name, port]) => {
    const { id, network, addresses, mac, retention, epoch, host, sandboxId, underlay, expiresAt } = port;
    const { bearer: _, ...inactive } = port.inactive ?? { bearer: undefined };
    const binding = { epoch, host, sandboxId, inactive: port.inactive && inactive, underlay };
    return { name, id, network, addresses, mac, retention, ...binding, expiresAt };
  });
  const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
  assert.deepEqual(found.sort(byName), known.sort(byName));
  const subnets = (await store.readNetworks()).flatMap(network => network.subnets);
  const held = subnets.reduce((sum, { usage }) => sum + usage.held, 0);
  assert.equal(held, model.book.heldCount, "held counters");
  const freed = subnets.reduce((sum, { usage }) => sum + usage.freed, 0);
  assert.ok(freed <= model.book.freedCount, "freed counters");
}
