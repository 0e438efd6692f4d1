import type { Engine } from "./engine.ts";
import { testAllocation } from "./suite-allocation.ts";
import { testBindings } from "./suite-bindings.ts";
import { testHistory } from "./suite-history.ts";
import { testLeadership } from "./suite-leadership.ts";
import { testLeases } from "./suite-leases.ts";
import { testNetworks } from "./suite-networks.ts";
import { testOrders } from "./suite-orders.ts";
import { testRandomWork } from "./suite-random-work.ts";
import { testSlots } from "./suite-slots.ts";

/** What every engine promises. */
export function testStore(engine: Engine): void {
  testBindings(engine);
  testAllocation(engine);
  testNetworks(engine);
  testHistory(engine);
  testOrders(engine);
  testSlots(engine);
  testLeases(engine);
  testLeadership(engine);
  testRandomWork(engine);
}
