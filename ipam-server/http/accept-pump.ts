/** Of new connections alone one takes well below a tenth of a millisecond. */
const MAX_TURNS = 50;

/**
 * The event loop accepts one connection a turn. A turn in which a batch is committed takes milliseconds, so that a zone's
 * agents who come back all at once would wait in the kernel for seconds, time out, and come again: between two batches
 * the loop turns on for as long as each turn brings somebody new.
 */
export class AcceptPump {
  #accepted = 0;

  /** To be called for each connection. */
  readonly note = (): void => {
    this.#accepted++;
  };

  /** Resolves a turn of the event loop later, when nobody new has come. */
  readonly takeIn = async (): Promise<void> => {
    for (let turns = 0, before = -1; turns < MAX_TURNS && before < this.#accepted; turns++) {
      before = this.#accepted;
      await new Promise(resolve => setImmediate(resolve));
    }
  };
}
