import type { IncomingMessage, Server } from "node:http";

/** How long the rest of a rejected body is read and discarded. */
const DRAIN_MS = 10_000;

/** How many long bodies each server is receiving, and its normal request timeout. */
const receiving = new WeakMap<Server, { count: number; requestTimeout: number }>();

/**
 * Runs `work` without a total request timeout; a body without data for `stallMs` is cut off. Node has one request
 * timeout per server, so other requests have none meanwhile.
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

/** Reads the rest of a rejected body, because closing a connection with unread bytes loses the answer. */
export async function drainAfterFailure(request: IncomingMessage): Promise<void> {
  if (request.complete || request.destroyed) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const late = setTimeout(resolve, DRAIN_MS);
  request.on("end", resolve).on("close", resolve).resume();
  await promise;
  clearTimeout(late);
}
