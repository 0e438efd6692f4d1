/** Bounds one drain to a few milliseconds: a turn that only accepts takes less than 0.1 ms. */
const MAX_TURNS = 50;

/**
 * Accepts pending connections between two commits. The event loop accepts one connection per turn, and a turn with a
 * commit takes milliseconds: without this, many agents that reconnect at once would time out in the kernel's queue.
 */
export class AcceptPump {
  #accepted = 0;

  /** Must be called for each accepted connection. */
  readonly onConnection = (): void => {
    this.#accepted++;
  };

  /** Resolves after the first turn of the event loop that accepts no connection. */
  readonly drainPendingConnections = async (): Promise<void> => {
    for (let turns = 0, before = -1; turns < MAX_TURNS && before < this.#accepted; turns++) {
      before = this.#accepted;
      await new Promise(resolve => setImmediate(resolve));
    }
  };
}
