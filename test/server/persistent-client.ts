import { setTimeout as delay } from "node:timers/promises";
import { type Answer, Client } from "./client.ts";

/** Longer than any switch-over; who is refused for so long would notice. */
const LASTING_MS = 60_000;
const PAUSE_MS = 50;

/** Repeats every call as docs/api.md says: at once elsewhere when a connection breaks, after Retry-After on 503. */
export class PersistentClient extends Client {
  readonly #servers: () => readonly { url: string }[];
  #turn: number;

  /** @param servers those that there are now; the n-th is asked first */
  constructor(servers: () => readonly { url: string }[], n: number) {
    super({ url: "" });
    this.#servers = servers;
    this.#turn = n;
  }

  override async send<T = unknown>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer<T>> {
    for (const deadline = performance.now() + LASTING_MS; ; this.#turn++) {
      const servers = this.#servers();
      const server = servers[this.#turn % servers.length] ?? { url: "" };
      const answer = await new Client(server).send<T>(method, path, body, headers).catch((error: unknown) => error);
      if (!(answer instanceof Error)) {
        const { status } = answer as Answer<T>;
        if (status < 500) return answer as Answer<T>;
      }
      const failure = answer instanceof Error ? String(answer.cause ?? answer) : JSON.stringify(answer);
      if (performance.now() > deadline) throw new Error(`refused for ${LASTING_MS} ms, at last with ${failure}`);
      const seconds = answer instanceof Error ? 0 : Number((answer as Answer).headers.get("retry-after"));
      await delay(Math.max(PAUSE_MS, seconds * 1000));
    }
  }
}
