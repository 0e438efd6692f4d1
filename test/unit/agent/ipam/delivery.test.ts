import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { pino } from "pino";
import { Delivery, type DeliveryOptions } from "../../../../cni/agent/ipam/delivery.ts";
import { Journals } from "../../../../cni/agent/ipam/journals.ts";
import { formatPortKey } from "../../../../cni/journal/entry.ts";
import { IpamError, type Release } from "../../../../ipam-server/contract/index.ts";
import { waitFor } from "../../../../scripts/lab/command.ts";
import { release } from "../../cni/journal-harness.ts";

/** A folder of journals, and an IPAM that releases all but the sandboxes in `broken`. */
async function openDelivery(changes: Partial<DeliveryOptions> = {}) {
  const dir = await mkdtemp(join(tmpdir(), "mooring-journals-"));
  const journals = new Journals(dir);
  const released: string[] = [];
  const failures: string[] = [];
  const ipam = {
    isReachable: true,
    ready: async () => {},
    release: async (releases: Release[]) =>
      releases.map(({ sandbox, name = "p" }) => {
        released.push(sandbox?.id ?? "");
        return { released: true, name, deleted: true };
      }),
  };
  const options = {
    nodeName: "node-a",
    ipam,
    journals,
    confirmations: { confirmAll: async () => [] },
    unreported: { settle: async () => {} },
    metrics: { failures: { inc: ({ component }: { component: string }) => void failures.push(component) } },
    log: pino({ level: "silent" }),
    ...changes,
  } as unknown as DeliveryOptions;
  return {
    dir,
    journals,
    released,
    failures,
    start: () => new Delivery(options),
    clean: () => rm(dir, { recursive: true }),
  };
}

describe("Delivery", () => {
  it("sets stray files aside, counts them, and delivers all journals", async () => {
    const { dir, journals, released, failures, start, clean } = await openDelivery();
    for (const name of ["first", "second"]) await journals.of(name).append(release(name));
    await writeFile(join(dir, "stray.json"), "{}");
    await mkdir(join(dir, "first", "000000000000001-000000.json"));
    await writeFile(join(dir, "second", "notes"), "");
    {
      await using _ = start();
      await waitFor("both journals to be delivered", async () => journals.depth() === 0 && released.length === 2);
    }
    assert.deepEqual((await readdir(dir)).toSorted(), [".damaged", "first", "second"]);
    assert.deepEqual(await readdir(join(dir, ".damaged")), ["stray.json"]);
    assert.deepEqual(failures, ["journal", "journal", "journal"]);
    await clean();
  });

  it("delivers other journals when one of them cannot be read", async () => {
    const { journals, released, start, clean } = await openDelivery();
    for (const name of ["first", "second"]) await journals.of(name).append(release(name));
    journals.of("first").list = async () => assert.fail("too many open files");
    {
      await using _ = start();
      await waitFor("the other journal to be delivered", async () => released.includes("second"));
    }
    await clean();
  });

  it("keeps a port's release until its confirmation succeeded, and delivers the others", async () => {
    const unconfirmed = [{ error: new IpamError("internal", "a bug"), keys: [formatPortKey("held")] }];
    const { journals, released, start, clean } = await openDelivery({
      confirmations: { confirmAll: async () => unconfirmed },
    } as never);
    await journals
      .of("agent")
      .append({ kind: "release", release: { name: "held", sandbox: { id: "old", interface: "eth0" } } });
    await journals.of("agent").append(release("other"));
    {
      await using delivery = start();
      await waitFor("the other entry to be gone", async () => released.length > 0 && journals.depth() === 1);
      assert.deepEqual(released, ["other"]);
      unconfirmed.length = 0;
      delivery.wake();
      await waitFor("the port's release", async () => journals.depth() === 0);
    }
    assert.deepEqual(released, ["other", "old"]);
    await clean();
  });
});
