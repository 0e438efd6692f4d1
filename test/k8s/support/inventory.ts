import { tmpdir } from "node:os";
import { join } from "node:path";

/** What was on the nodes before the installation, from the first test file to the last. */
export const INVENTORY_FILE =
  process.env.MOORING_E2E_INVENTORY ?? join(tmpdir(), `mooring-e2e-inventory-${process.ppid}.json`);
