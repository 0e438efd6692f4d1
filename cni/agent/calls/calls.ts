import type { Logger } from "pino";
import { DEFAULT_INTERFACE } from "../../../ipam-server/contract/port.ts";
import type { KubeEvents } from "../../../ipam-server/kube/kube-events.ts";
import { type Answer, type Call, dispatch } from "../../dispatch.ts";
import { parseCniArgs } from "../../spec/cni-args.ts";
import { CNI_CODES, CniError } from "../../spec/cni-error.ts";
import type { DefaultNetwork } from "../claims/default-network.ts";
import { type AgentBackendOptions, createAgentBackend } from "./agent-backend.ts";
import { failed } from "./call-codec.ts";
import { type KeyedQueue, sandboxKey } from "./keyed-queue.ts";

interface CallsOptions {
  backend: AgentBackendOptions;
  defaultNetwork: Pick<DefaultNetwork, "observeAdd">;
  queue: KeyedQueue;
  events: Pick<KubeEvents, "write">;
  log: Logger;
  /** Cancels a call after this time, which rolls back an ADD. Below the minute that the executable waits. Default 45000. */
  deadlineMs?: number;
}

/** Time for a cancelled call to roll back before its caller is answered anyway. */
const ROLL_BACK_MS = 10_000;

/** Identifies a call in logs and events. */
interface Subject {
  command: string;
  sandbox?: string;
  ifname?: string;
  pod?: { namespace: string; name: string; uid?: string };
}

/**
 * Answers CNI calls, one at a time per sandbox and interface. Each call has a deadline, a metric and a log line; a failed
 * ADD is also an event of its pod.
 */
export class Calls {
  readonly #options: CallsOptions;
  readonly #running = new Set<Promise<unknown>>();
  readonly #stop = new AbortController();

  constructor(options: CallsOptions) {
    this.#options = options;
  }

  /** Never rejects. Aborting `callerGone` cancels the call, except a DEL. */
  async answer(call: Call, callerGone: AbortSignal): Promise<Answer> {
    const subject = parseSubject(call);
    if (subject.command === "ADD" && subject.ifname === DEFAULT_INTERFACE) this.#options.defaultNetwork.observeAdd();
    const { metrics } = this.#options.backend;
    this.#options.log.debug(subject, "call started");
    const started = performance.now();
    const end = metrics.steps.startTimer({ command: subject.command, step: "total" });
    const answer = await this.#answerByDeadline(call, subject, callerGone);
    end();
    this.#finish(subject, answer, performance.now() - started);
    return answer;
  }

  /** Resolves when all calls have ended. Cancels those that run longer than `timeoutMs`, which rolls back ADDs. */
  async drain(timeoutMs: number): Promise<void> {
    const timer = setTimeout(
      () => this.#stop.abort(new CniError(CNI_CODES.tryAgain, "the agent is shutting down")),
      timeoutMs,
    );
    while (this.#running.size > 0) await Promise.allSettled(this.#running);
    clearTimeout(timer);
  }

  async #answerByDeadline(call: Call, subject: Subject, callerGone: AbortSignal): Promise<Answer> {
    const { deadlineMs = 45_000 } = this.#options;
    const timeout = new AbortController();
    const late = new CniError(CNI_CODES.tryAgain, `${subject.command} took longer than ${deadlineMs} ms`);
    const deadline = setTimeout(() => timeout.abort(late), deadlineMs);
    const { promise: overdue, resolve } = Promise.withResolvers<Answer>();
    const rollBackDeadline = setTimeout(
      () => resolve(failed(CNI_CODES.tryAgain, late.message)),
      deadlineMs + ROLL_BACK_MS,
    );
    const ends = subject.command === "DEL" ? [timeout.signal] : [timeout.signal, callerGone, this.#stop.signal];
    const work = this.#enqueue(call, subject, AbortSignal.any(ends));
    this.#running.add(work);
    void work.finally(() => this.#running.delete(work));
    try {
      return await Promise.race([work, overdue]);
    } finally {
      clearTimeout(deadline);
      clearTimeout(rollBackDeadline);
    }
  }

  #enqueue(call: Call, subject: Subject, signal: AbortSignal): Promise<Answer> {
    const { queue, backend, log } = this.#options;
    const run = async (): Promise<Answer> => {
      // Its caller is gone or timed out while it was queued.
      if (signal.aborted && subject.command !== "DEL") return failed(CNI_CODES.tryAgain, String(signal.reason));
      const { command } = subject;
      const context = { command, signal, log: (line: string) => log.warn({ ...subject }, line) };
      return dispatch(call, createAgentBackend(backend, context));
    };
    const { sandbox, ifname } = subject;
    return sandbox === undefined || ifname === undefined ? run() : queue.run(sandboxKey(sandbox, ifname), run);
  }

  #finish(subject: Subject, { stdout, exitCode }: Answer, elapsedMs: number): void {
    const { backend, log, events } = this.#options;
    const facts = { ...subject, ms: Math.round(elapsedMs * 10) / 10 };
    if (exitCode === 0) {
      log.info(facts, "call succeeded");
      return;
    }
    const { code, msg } = JSON.parse(stdout) as { code: number; msg: string };
    backend.metrics.errors.inc({ command: subject.command, code: String(code) });
    log.warn({ ...facts, code, reason: msg }, "call failed");
    const { pod } = subject;
    if (subject.command !== "ADD" || pod === undefined) return;
    const about = { apiVersion: "v1", kind: "Pod", ...pod };
    events.write({ subject: about, type: "Warning", reason: "MooringClaimFailed", message: msg });
  }
}

const COMMANDS = new Set(["ADD", "DEL", "CHECK", "STATUS", "GC", "VERSION"]);

/** Never throws: the dispatcher reports an invalid call. */
function parseSubject({ env }: Call): Subject {
  const command = env.CNI_COMMAND ?? "";
  const { CNI_CONTAINERID: sandbox, CNI_IFNAME: ifname } = env;
  return {
    // A metric label, so that only known values are allowed.
    command: COMMANDS.has(command) ? command : "unknown",
    ...(sandbox && { sandbox }),
    ...(ifname && { ifname }),
    ...parsePod(env.CNI_ARGS ?? ""),
  };
}

function parsePod(args: string): Pick<Subject, "pod"> {
  try {
    const { podNamespace: namespace, podName: name, podUid: uid } = parseCniArgs(args);
    if (namespace === undefined || name === undefined) return {};
    return { pod: { namespace, name, ...(uid !== undefined && { uid }) } };
  } catch {
    return {};
  }
}
