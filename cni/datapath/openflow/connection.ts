import { connect } from "node:net";
import { encodeBundled, encodeRequest } from "./encode-message.ts";
import type { FlowFilter } from "./flow.ts";
import type { BundledRequest, PortStatus, Reply, Request, StatisticsEntries, StatisticsReply } from "./message.ts";
import { type CallLimits, OpenflowSession } from "./session.ts";
import { OpenflowProtocolError, type Version, type Writer } from "./wire.ts";

type ReplyOf<K extends Reply["kind"]> = Extract<Reply, { kind: K }>;

/** Above any bridge's number of flows. */
const MAX_ENTRIES = 2_000_000;

/**
 * A connection to a bridge over its management socket. It ends when the bridge does, after which all calls reject; the
 * caller then opens another one and sends everything again. A call rejects with OpenflowErrorReply if OVS rejected it;
 * after any other error its effect is not known.
 */
export class OpenflowConnection implements AsyncDisposable {
  readonly #session: OpenflowSession;
  #nextBundle = 1;

  private constructor(session: OpenflowSession) {
    this.#session = session;
  }

  /** `path` is the bridge's socket, such as `/run/openvswitch/br-int.mgmt`. */
  static async open(path: string, limits: CallLimits): Promise<OpenflowConnection> {
    const session = new OpenflowSession(connect({ path }));
    try {
      await session.agree(limits);
      return new OpenflowConnection(session);
    } catch (error) {
      session.close(error as Error);
      throw new Error(`OpenFlow at ${path}: ${(error as Error).message}`, { cause: error });
    }
  }

  get version(): Version {
    return this.#session.version;
  }

  /** Resolves with the reason when the connection ends. */
  get closed(): Promise<Error> {
    return this.#session.closed;
  }

  async features(limits: CallLimits): Promise<ReplyOf<"features">> {
    return this.#call({ kind: "features" }, "features", limits);
  }

  async echo(limits: CallLimits): Promise<void> {
    await this.#call({ kind: "echo" }, "echoReply", limits);
  }

  /** Resolves when OVS has processed everything sent before. */
  async barrier(limits: CallLimits): Promise<void> {
    await this.#call({ kind: "barrier" }, "barrierReply", limits);
  }

  /** Sends the requests and waits until OVS has processed them. Those that it does not reject take effect. */
  async send(requests: readonly Request[], limits: CallLimits): Promise<void> {
    using batch = this.#session.openBatch(requests);
    await this.#session.transmit(batch, requests, encodeRequest, limits);
    await this.barrier(limits);
    batch.assertAccepted();
  }

  /**
   * All of the requests or none of them, in this order, between two packets. OVS commits a bundle without a message
   * that it rejected when it was added, so errors are read up to a barrier before the commit.
   */
  async commit(requests: readonly BundledRequest[], limits: CallLimits): Promise<void> {
    const bundle = this.#nextBundle++;
    using batch = this.#session.openBatch(requests);
    await this.#call({ kind: "bundle", command: "open", bundle }, "bundleReply", limits);
    try {
      const encode = (writer: Writer, xid: number, request: BundledRequest) =>
        encodeBundled(writer, xid, bundle, request);
      await this.#session.transmit(batch, requests, encode, limits);
      await this.barrier(limits);
      batch.assertAccepted();
    } catch (error) {
      this.#session.post({ kind: "bundle", command: "discard", bundle });
      throw error;
    }
    try {
      await this.#call({ kind: "bundle", command: "commit", bundle }, "bundleReply", limits);
    } catch (error) {
      // Names the request at fault, which OVS reports before the commit's own error.
      batch.assertAccepted();
      throw error;
    }
  }

  /** The entries of all parts of the answer. */
  async read<K extends keyof StatisticsEntries>(
    of: K,
    limits: CallLimits,
    filter?: K extends "flows" | "aggregate" ? FlowFilter : never,
  ): Promise<StatisticsEntries[K][]> {
    const request = { kind: "statistics", of, ...(filter === undefined ? {} : { filter }) } as Request;
    const entries: StatisticsEntries[K][] = [];
    await this.#session.exchange<void>(request, limits, (reply, resolve) => {
      const part = expect(reply, "statistics") as StatisticsReply<K>;
      if (part.of !== of) throw new OpenflowProtocolError(`statistics of ${part.of} answer a request for ${of}`);
      for (const entry of part.entries) entries.push(entry);
      if (entries.length > MAX_ENTRIES) throw new OpenflowProtocolError(`more than ${MAX_ENTRIES} ${of} are too many`);
      if (!part.hasMore) resolve();
    });
    return entries;
  }

  /** Passes added, deleted and modified ports to `listener`. Resolves with the undo function once OVS reports them. */
  async watchPorts(listener: (status: PortStatus) => void, limits: CallLimits): Promise<() => void> {
    const { portListeners } = this.#session;
    portListeners.add(listener);
    const undo = () => void portListeners.delete(listener);
    try {
      await this.send([{ kind: "watchPorts" }], limits);
      return undo;
    } catch (error) {
      undo();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#session.close(new Error("the OpenFlow connection is closed"));
  }

  async #call<K extends Reply["kind"]>(request: Request, kind: K, limits: CallLimits): Promise<ReplyOf<K>> {
    return this.#session.exchange(request, limits, (reply, resolve) => resolve(expect(reply, kind)));
  }
}

function expect<K extends Reply["kind"]>(reply: Reply, kind: K): ReplyOf<K> {
  if (reply.kind !== kind) throw new OpenflowProtocolError(`${reply.kind} answers a request for ${kind}`);
  return reply as ReplyOf<K>;
}
