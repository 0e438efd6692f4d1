import type { IncomingMessage, Server } from "node:http";

/** How long what is left of a refused body is read and forgotten. */
const DRAIN_MS = 10_000;

/** How many long bodies each server receives, and its time-out for all others. */
const receiving = new WeakMap<Server, { count: number; requestTimeout: number }>();

/**
 * A body may take as long as it takes while it goes on; one that stands still for `stallMs` is cut off. Node knows one
 * time-out for the requests of a server, so that meanwhile the others have none.
 */
export async function withoutRequestTimeout<T>(
  request: IncomingMessage,
  stallMs: number,
  work: () => Promise<T>,
): Promise<T> {
  const { server } = request.socket as unknown as { server: Server };
  const state = receiving.get(server) ?? { count: 0, requestTimeout: server.requestTimeout };
  receiving.set(server, state);
  state.count++;
  server.requestTimeout = 0;
  request.setTimeout(stallMs, () => {
    if (!request.complete) request.destroy();
  });
  try {
    return await work();
  } finally {
    if (--state.count === 0) {
      server.requestTimeout = state.requestTimeout;
      receiving.delete(server);
    }
  }
}

/** Lets the sender of a refused body get to the answer: a connection that is closed on unread bytes loses it. */
export async function drainAfterFailure(request: IncomingMessage): Promise<void> {
  if (request.complete || request.destroyed) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const late = setTimeout(resolve, DRAIN_MS);
  request.on("end", resolve).on("close", resolve).resume();
  await promise;
  clearTimeout(late);
}
