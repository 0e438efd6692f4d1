import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { describe, it } from "node:test";
import { RawConnection } from "./connection.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

/** Serves each request by `serve`, which gets the number of the connection and of the request on it. */
async function listen(serve: (socket: Socket, connection: number, request: number) => void) {
  let connections = 0;
  const server = createServer(socket => {
    connections += 1;
    const connection = connections;
    let requests = 0;
    socket.on("error", () => {});
    socket.on("data", () => {
      requests += 1;
      serve(socket, connection, requests);
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  return { port, connections: () => connections, [Symbol.asyncDispose]: async () => void server.close() };
}

describe("load generator's connection", () => {
  it("sends a request again when the server resets the kept-alive connection", async () => {
    await using server = await listen((socket, connection, request) => {
      if (connection === 1 && request === 2) socket.resetAndDestroy();
      else socket.write(OK);
    });
    await using connection = await RawConnection.open("127.0.0.1", server.port);
    for (let i = 0; i < 3; i++) assert.equal((await connection.post("/v1/claims", "{}")).status, 200);
    assert.equal(server.connections(), 2);
  });

  it("rejects when the server resets the second connection too", async () => {
    await using server = await listen(socket => socket.resetAndDestroy());
    await using connection = await RawConnection.open("127.0.0.1", server.port);
    await assert.rejects(connection.post("/v1/claims", "{}"), /ECONNRESET|closed the connection/);
    assert.equal(server.connections(), 2);
  });
});
