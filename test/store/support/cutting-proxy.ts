import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { COMMIT_NAME } from "../../../ipam-server/storage/postgres/database/writer.ts";

/**
 * `before`: the commit never reaches the server. `after`: it does, and its answer never comes back. `frozen`: nothing
 * comes through any more, and neither end gets an error.
 */
type Cut = "before" | "after" | "frozen";

/** Stands between a store and PostgreSQL, and cuts a connection at the worst moment: at its next commit. */
export class CuttingProxy implements AsyncDisposable {
  readonly url: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #cut: Cut | undefined;
  /** Connections cut so far. */
  cuts = 0;
  /** How often a client that had been answered said something again. */
  roundTrips = 0;
  /** Cut also stays cut: who connects is turned away. */
  refuses = false;
  #isFrozen = false;

  private constructor(server: Server, url: string) {
    this.#server = server;
    this.url = url;
  }

  static async start(target: string): Promise<CuttingProxy> {
    const to = new URL(target);
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    const url = new URL(target);
    url.port = String(address.port);
    const proxy = new CuttingProxy(server, url.href);
    server.on("connection", client => {
      if (proxy.refuses) client.destroy();
      else if (proxy.#isFrozen) proxy.#keep(client.pause());
      else proxy.#join(client, connect(Number(to.port), to.hostname));
    });
    return proxy;
  }

  cutNextCommit(cut: Cut): void {
    this.#cut = cut;
  }

  cutAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** From now on nothing comes through any more, and neither end gets an error. */
  freeze(): void {
    this.#isFrozen = true;
    for (const socket of this.#sockets) socket.pause();
  }

  /** For connections that are made from now on. */
  thaw(): void {
    this.#isFrozen = false;
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.#sockets.delete(socket));
  }

  #join(client: Socket, server: Socket): void {
    for (const socket of [client, server]) {
      this.#keep(socket);
      socket.on("close", () => {
        client.destroy();
        server.destroy();
      });
    }
    let isAnswered = true;
    server.on("data", () => {
      isAnswered = true;
    });
    client.on("data", chunk => {
      if (isAnswered) this.roundTrips++;
      isAnswered = false;
      const cut = chunk.includes(COMMIT_NAME) ? this.#cut : undefined;
      if (cut === undefined) return server.write(chunk);
      this.#cut = undefined;
      this.cuts++;
      if (cut === "before") return client.destroy();
      if (cut === "frozen") return client.pause();
      // The server answers all of it before the client gets any of it.
      server.removeAllListeners("data");
      let answer = Buffer.alloc(0);
      server.on("data", data => {
        answer = Buffer.concat([answer, data]);
        if (answer.includes("COMMIT\0")) client.destroy();
      });
      return server.write(chunk);
    });
    server.on("data", chunk => client.write(chunk));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cutAll();
    this.#server.close();
    await once(this.#server, "close");
  }
}
