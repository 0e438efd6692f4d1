import type { Logger } from "pino";
import type { KubeEvents } from "../../../ipam-server/kube/kube-events.ts";
import { type Answer, type Call, dispatch } from "../../dispatch.ts";
import { parseCniArgs } from "../../spec/cni-args.ts";
import { CNI_CODES, CniError } from "../../spec/cni-error.ts";
import { type AgentBackendOptions, createAgentBackend } from "./agent-backend.ts";
import { failed } from "./call-codec.ts";
import { type KeyedQueue, sandboxKey } from "./keyed-queue.ts";

export interface CallsOptions {
  backend: AgentBackendOptions;
  queue: KeyedQueue;
  events: Pick<KubeEvents, "write">;
  log: Logger;
  /** After it a call is ended, which undoes an ADD. Below the minute that the executable waits. Default 45000. */
  deadlineMs?: number;
}

/** How long an ended call may still undo before its caller is answered without it. */
const UNDO_MS = 10_000;

/** What a call is about, for the log and for events. */
interface Subject {
  command: string;
  sandbox?: string;
  ifname?: string;
  pod?: { namespace: string; name: string; uid?: string };
}

/**
 * Answers calls: those of one sandbox and interface in turn, each with a deadline, measured, logged, and failed ADDs told
 * to the pod.
 */
export class Calls {
  readonly #options: CallsOptions;
  readonly #running = new Set<Promise<unknown>>();
  readonly #stop = new AbortController();

  constructor(options: CallsOptions) {
    this.#options = options;
  }

  /** Never rejects. Aborting `callerGone` ends what only its caller wants; a DEL goes on. */
  async answer(call: Call, callerGone: AbortSignal): Promise<Answer> {
    const subject = describeSubject(call);
    const { metrics } = this.#options.backend;
    const started = performance.now();
    const end = metrics.steps.startTimer({ command: subject.command, step: "total" });
    const answer = await this.#answerInTime(call, subject, callerGone);
    end();
    this.#conclude(subject, answer, performance.now() - started);
    return answer;
  }

  /** Waits for the running calls; those that are not done after `timeoutMs` are ended, which undoes ADDs. */
  async drain(timeoutMs: number): Promise<void> {
    const timer = setTimeout(() => this.#stop.abort(new CniError(CNI_CODES.tryAgain, "the agent stops")), timeoutMs);
    while (this.#running.size > 0) await Promise.allSettled(this.#running);
    clearTimeout(timer);
  }

  async #answerInTime(call: Call, subject: Subject, callerGone: AbortSignal): Promise<Answer> {
    const { deadlineMs = 45_000 } = this.#options;
    const timeout = new AbortController();
    const late = new CniError(CNI_CODES.tryAgain, `${subject.command} took longer than ${deadlineMs} ms`);
    const deadline = setTimeout(() => timeout.abort(late), deadlineMs);
    const { promise: overdue, resolve } = Promise.withResolvers<Answer>();
    const giveUp = setTimeout(() => resolve(failed(CNI_CODES.tryAgain, late.message)), deadlineMs + UNDO_MS);
    const ends = subject.command === "DEL" ? [timeout.signal] : [timeout.signal, callerGone, this.#stop.signal];
    const work = this.#answerInTurn(call, subject, AbortSignal.any(ends));
    this.#running.add(work);
    void work.finally(() => this.#running.delete(work));
    try {
      return await Promise.race([work, overdue]);
    } finally {
      clearTimeout(deadline);
      clearTimeout(giveUp);
    }
  }

  #answerInTurn(call: Call, subject: Subject, signal: AbortSignal): Promise<Answer> {
    const { queue, backend, log } = this.#options;
    const run = async (): Promise<Answer> => {
      // Its turn came too late: nobody waits for it any more.
      if (signal.aborted && subject.command !== "DEL") return failed(CNI_CODES.tryAgain, String(signal.reason));
      const { command } = subject;
      const context = { command, signal, log: (line: string) => log.warn({ ...subject }, line) };
      return dispatch(call, createAgentBackend(backend, context));
    };
    const { sandbox, ifname } = subject;
    return sandbox === undefined || ifname === undefined ? run() : queue.run(sandboxKey(sandbox, ifname), run);
  }

  #conclude(subject: Subject, { stdout, exitCode }: Answer, elapsedMs: number): void {
    const { backend, log, events } = this.#options;
    const facts = { ...subject, ms: Math.round(elapsedMs * 10) / 10 };
    if (exitCode === 0) {
      log.info(facts, "answered");
      return;
    }
    const { code, msg } = JSON.parse(stdout) as { code: number; msg: string };
    backend.metrics.errors.inc({ command: subject.command, code: String(code) });
    log.warn({ ...facts, code, reason: msg }, "failed");
    const { pod } = subject;
    if (subject.command !== "ADD" || pod === undefined) return;
    const about = { apiVersion: "v1", kind: "Pod", ...pod };
    events.write({ subject: about, type: "Warning", reason: "MooringClaimFailed", message: msg });
  }
}

const COMMANDS = new Set(["ADD", "DEL", "CHECK", "STATUS", "GC", "VERSION"]);

/** As far as the call says; what is wrong with it, the dispatcher tells. */
function describeSubject({ env }: Call): Subject {
  const command = env.CNI_COMMAND ?? "";
  const { CNI_CONTAINERID: sandbox, CNI_IFNAME: ifname } = env;
  return {
    // Becomes a label of metrics: only what is known.
    command: COMMANDS.has(command) ? command : "unknown",
    ...(sandbox && { sandbox }),
    ...(ifname && { ifname }),
    ...readPod(env.CNI_ARGS ?? ""),
  };
}

function readPod(args: string): Pick<Subject, "pod"> {
  try {
    const { podNamespace: namespace, podName: name, podUid: uid } = parseCniArgs(args);
    if (namespace === undefined || name === undefined) return {};
    return { pod: { namespace, name, ...(uid !== undefined && { uid }) } };
  } catch {
    return {};
  }
}
