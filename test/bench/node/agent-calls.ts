import assert from "node:assert/strict";
import { exchange } from "../../../cni/launcher/net-pipe.ts";
import { PROTOCOL_VERSION } from "../../../cni/launcher/protocol.ts";
import { deriveEnvironment } from "../../../scripts/lab/cni.ts";
import type { Endpoint } from "../../../scripts/lab/endpoint.ts";
import type { BenchContext } from "../context.ts";
import type { AgentNodes } from "./agent-nodes.ts";

const TIMEOUT_MS = 60_000;
/** A kubelet needs longer than this from scheduling to ADD: the agent pre-claims meanwhile. */
const SCHEDULED_MS = 50;

/** Milliseconds from the call written to the answer read, at the agent's socket. */
export interface CallTimes {
  add: number[];
  del: number[];
}

interface BenchPod {
  name: string;
  uid: string;
  endpoint: Endpoint;
}

/** Calls at the socket of the first node's agent, as the executable makes them, without the executable's own start. */
export class AgentCalls {
  readonly #context: BenchContext;
  readonly #nodes: AgentNodes;
  #count = 0;

  constructor(context: BenchContext, nodes: AgentNodes) {
    this.#context = context;
    this.#nodes = nodes;
  }

  /** `atOnce` ADDs together, and when all are answered as many DELs together; so often. */
  async bursts(times: number, atOnce: number): Promise<CallTimes> {
    const measured: CallTimes = { add: [], del: [] };
    for (let time = 0; time < times; time += 1) {
      await this.#withPods(atOnce, async pods => {
        measured.add.push(...(await Promise.all(pods.map(pod => this.#call("ADD", pod)))));
        measured.del.push(...(await Promise.all(pods.map(pod => this.#call("DEL", pod)))));
      });
    }
    return measured;
  }

  /** As many callers, each with an ADD, its DEL, the next ADD and so on: at every moment some plug and some unplug. */
  async churn(turns: number, callers: number): Promise<CallTimes> {
    const measured: CallTimes = { add: [], del: [] };
    await this.#withPods(turns * callers, async pods => {
      const work = async (own: BenchPod[]) => {
        for (const pod of own) {
          measured.add.push(await this.#call("ADD", pod));
          measured.del.push(await this.#call("DEL", pod));
        }
      };
      await Promise.all(
        Array.from({ length: callers }, (_, caller) => work(pods.filter((_, n) => n % callers === caller))),
      );
    });
    return measured;
  }

  async #withPods(count: number, work: (pods: BenchPod[]) => Promise<void>): Promise<void> {
    const { topology, kube } = this.#nodes;
    this.#context.signal.throwIfAborted();
    const pods = await Promise.all(
      Array.from({ length: count }, async () => {
        const name = `burst-${++this.#count}`;
        return { name, uid: `uid-${name}`, endpoint: await topology.addPod(name) };
      }),
    );
    for (const { name, uid } of pods) await kube.putPod({ name, uid, nodeName: topology.node(0).name });
    await new Promise(resolve => setTimeout(resolve, SCHEDULED_MS + 2 * count));
    await work(pods);
    for (const { name } of pods) await kube.removePod(name);
    await Promise.all(pods.map(({ endpoint }) => endpoint.remove()));
  }

  async #call(verb: "ADD" | "DEL", { name, uid, endpoint }: BenchPod): Promise<number> {
    const { config } = this.#nodes.plugin(0);
    const env = deriveEnvironment(verb, {
      containerId: Buffer.from(endpoint.namespace).toString("hex").padStart(64, "0"),
      netns: endpoint.netns,
      args: { K8S_POD_NAMESPACE: "default", K8S_POD_NAME: name, K8S_POD_UID: uid },
      conf: config,
    });
    const line = `${JSON.stringify({ version: PROTOCOL_VERSION, env, stdin: JSON.stringify(config) })}\n`;
    const socket = this.#nodes.agents[0]?.socket ?? "";
    const started = performance.now();
    const answer = await exchange(socket, line, TIMEOUT_MS);
    const elapsedMs = performance.now() - started;
    assert.equal(JSON.parse(answer || "{}").exitCode, 0, `${verb} of ${name}: ${answer}`);
    return elapsedMs;
  }
}
