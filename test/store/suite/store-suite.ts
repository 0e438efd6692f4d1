import { testAllocation } from "./allocation.ts";
import { testBindings } from "./bindings.ts";
import { testClockJumps } from "./clock-jumps.ts";
import { testClusters } from "./clusters.ts";
import { testConflicts } from "./conflicts.ts";
import type { Engine } from "./engine.ts";
import { testHistory } from "./history.ts";
import { testIdentities } from "./identities.ts";
import { testInactiveBindings } from "./inactive-bindings.ts";
import { testLeadership } from "./leadership.ts";
import { testLeaseAssignment } from "./lease-assignment.ts";
import { testLeases } from "./leases.ts";
import { testNetworks } from "./networks.ts";
import { testOrders } from "./orders.ts";
import { testRandomRecovery } from "./random-recovery.ts";
import { testRandomWork } from "./random-work.ts";
import { testReallocation } from "./reallocation.ts";
import { testRecovery } from "./recovery.ts";
import { testRedeclared } from "./redeclared.ts";
import { testRetention } from "./retention.ts";
import { testSlots } from "./slots.ts";

/** What every engine promises. */
export function testStore(engine: Engine): void {
  testBindings(engine);
  testInactiveBindings(engine);
  testIdentities(engine);
  testAllocation(engine);
  testNetworks(engine);
  testRetention(engine);
  testRedeclared(engine);
  testReallocation(engine);
  testClusters(engine);
  testRecovery(engine);
  testConflicts(engine);
  testClockJumps(engine);
  testHistory(engine);
  testOrders(engine);
  testSlots(engine);
  testLeases(engine);
  testLeaseAssignment(engine);
  testLeadership(engine);
  testRandomWork(engine);
  testRandomRecovery(engine);
}
