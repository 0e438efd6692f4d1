import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Mutation } from "../../../ipam-server/domain/model/mutation.ts";
import type { Store } from "../../../ipam-server/domain/store.ts";
import { assertHealthy, bornAt, type Clock, claim, network, REUSE_DELAY_MS, release } from "../support/builders.ts";
import type { Engine } from "./engine.ts";
import { withStore } from "./with-store.ts";

const NAME = "c1/default/web-0";
const sticky = { retention: { policy: "sticky" } } as const;

/** ADD and DEL of two pods of one name: the older on node a, the newer on node b; each has two sandboxes in turn. */
const STEPS = {
  addOldA1: claim(NAME, "a", "a1", { owner: bornAt("old", 0), ...sticky }),
  addOldA2: claim(NAME, "a", "a2", { owner: bornAt("old", 0), ...sticky }),
  delA1: release("a", "a1", { name: NAME }),
  delA2: release("a", "a2", { name: NAME }),
  addNewB1: claim(NAME, "b", "b1", { owner: bornAt("new", 10), ...sticky }),
  delB1: release("b", "b1", { name: NAME }),
} satisfies Record<string, Mutation>;

type Step = keyof typeof STEPS;

/** The rules in their simplest form: which owner is bound after these calls in this order. */
function expectBinding(order: readonly Step[]): string | undefined {
  let bound: string | undefined;
  let newerCame = false;
  for (const step of order) {
    const sandbox = step.slice(-2).toLowerCase();
    if (step.startsWith("del")) bound = bound === sandbox ? undefined : bound;
    else if (step === "addNewB1") [bound, newerCame] = [sandbox, true];
    else if (!newerCame) bound = sandbox;
  }
  return bound;
}

function* permute<T>(values: readonly T[]): Generator<T[]> {
  if (values.length === 0) yield [];
  for (const [index, value] of values.entries()) {
    for (const rest of permute(values.toSpliced(index, 1))) yield [value, ...rest];
  }
}

async function play(store: Store, clock: Clock, order: readonly Step[], inOneBatch: boolean): Promise<void> {
  const batches = inOneBatch ? [order.map(step => STEPS[step])] : order.map(step => [STEPS[step]]);
  for (const batch of batches) await store.commit(batch);
  const said = `after ${order.join(", ")}`;
  const port = await store.readPort(NAME).catch(() => undefined);
  const expected = expectBinding(order);
  assert.equal(port?.binding?.sandbox?.id, expected, said);
  assert.equal(port?.binding?.host, expected?.[0], said);
  if (port) await forget(store, expected);
  clock.pass(REUSE_DELAY_MS);
}

async function forget(store: Store, sandboxId: string | undefined): Promise<void> {
  if (sandboxId !== undefined) await store.commit([release(sandboxId[0] ?? "", sandboxId, { name: NAME })]);
  await store.commit([{ kind: "deletePort", name: NAME, caller: "test" }]);
}

export function testOrders(engine: Engine): void {
  describe(`${engine.name}: late and repeated calls`, () => {
    const networks = [network("net", 10, [{ cidr: "10.0.0.0/30" }])];
    for (const inOneBatch of [false, true]) {
      it(`reaches the same state for every order of ADD and DEL${inOneBatch ? " within a batch" : ""}`, async () => {
        await withStore(engine, networks, async (store, clock) => {
          const steps = Object.keys(STEPS) as Step[];
          for (const order of permute(steps)) await play(store, clock, order, inOneBatch);
        });
      });
    }

    it("changes nothing for a repeated call at any position", async () => {
      await withStore(engine, networks, async (store, clock) => {
        const steps: Step[] = ["addOldA1", "addNewB1", "delA1", "delB1"];
        for (const order of permute(steps)) {
          for (const repeated of steps) {
            for (let at = order.indexOf(repeated) + 1; at <= order.length; at++) {
              await play(store, clock, order.toSpliced(at, 0, repeated), false);
            }
          }
        }
        await assertHealthy(store);
      });
    });
  });
}
