import assert from "node:assert/strict";
import { Agent, request } from "node:http";
import { describe, it } from "node:test";
import { Client, claimOf, networkOf } from "../client.ts";
import { ServerProcess } from "../server-process.ts";

const LISTS = 24;
const CHECKS = 4;
const CLAIMS = 25;

describe("overload", () => {
  it("claims continue during a flood of lists and checks", async () => {
    await using server = await ServerProcess.start();
    const client = new Client(server);
    await client.send("PUT", "/v1/networks/prod-a", networkOf("prod-a", "10.100.0.0/16"));
    for (let round = 0; round < 8; round++) {
      await client.claims(...Array.from({ length: 125 }, (_, index) => claimOf(`held-${round}-${index}`)));
    }
    const agent = new Agent({ keepAlive: true, maxSockets: LISTS + CHECKS });
    const get = (path: string) =>
      new Promise<void>((resolve, reject) => {
        request(server.url + path, { agent }, response => response.resume().on("end", resolve))
          .on("error", reject)
          .end();
      });
    let isOver = false;
    let answered = 0;
    const flood = async (path: string) => {
      while (!isOver) {
        await get(path);
        answered++;
      }
    };
    const floods = Array.from({ length: LISTS + CHECKS }, (_, index) =>
      flood(index < LISTS ? "/v1/ports?limit=1000" : "/v1/check"),
    );
    await get("/v1/check");
    const before = answered;
    for (let index = 0; index < CLAIMS; index++) await client.claim(claimOf(`claimed-${index}`));
    const between = answered - before;
    isOver = true;
    await Promise.all(floods);
    agent.destroy();
    assert.ok(between < CLAIMS * 8, `${between} reads were answered while ${CLAIMS} claims were`);
    assert.ok(between > 0, "reads stood still");
    assert.deepEqual(await client.findings(), []);
  });
});
