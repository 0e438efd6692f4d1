import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { describe, it } from "node:test";
import { AcceptPump } from "../../../ipam-server/http/accept-pump.ts";

const COUNT = 40;

describe("AcceptPump", () => {
  it("drains all connections that arrived at once", async () => {
    const acceptPump = new AcceptPump();
    let accepted = 0;
    const server = createServer(() => accepted++).on("connection", acceptPump.onConnection);
    server.listen({ host: "127.0.0.1", port: 0, backlog: COUNT });
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    // In one step: the kernel has them all before the loop turns again.
    const sockets = Array.from({ length: COUNT }, () => connect(port, "127.0.0.1"));
    try {
      await new Promise(resolve => setImmediate(resolve));
      await acceptPump.drainPendingConnections();
      assert.equal(accepted, COUNT);
    } finally {
      for (const socket of sockets) socket.destroy();
      server.close();
    }
  });

  it("waits one turn of the event loop if no connection is pending", async () => {
    const acceptPump = new AcceptPump();
    await new Promise(resolve => setImmediate(resolve));
    let turns = 0;
    const count = () => {
      turns++;
      timer = setImmediate(count);
    };
    let timer = setImmediate(count);
    await acceptPump.drainPendingConnections();
    clearImmediate(timer);
    assert.ok(turns <= 2, `${turns} turns`);
  });
});
