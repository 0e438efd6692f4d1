import { join } from "node:path";
import { monitorEventLoopDelay, performance } from "node:perf_hooks";
import { parentPort, workerData } from "node:worker_threads";
import pino from "pino";
import { AgentMetrics } from "../../../cni/agent/metrics.ts";
import { SimulatedAgent } from "./agent.ts";
import type { Answer, FleetCall, FleetCalls, Question, WorkerOptions } from "./fleet-protocol.ts";
import { nothingSeen } from "./record.ts";

const options: WorkerOptions = workerData;
let seen = nothingSeen();
let utilization = performance.eventLoopUtilization();
const delay = monitorEventLoopDelay({ resolution: 10 });
delay.enable();

const log = pino({ level: "silent" });
const metrics = new AgentMetrics();
const agents = new Map(
  options.nodes.map(({ name, url }) => {
    const journalDir = join(options.journalDir, name);
    return [name, new SimulatedAgent({ name, url, journalDir, metrics, log, seen: () => seen })];
  }),
);

type Handlers = {
  [C in FleetCall]: (argument: FleetCalls[C]["argument"]) => Promise<FleetCalls[C]["answer"]>;
};
const handlers: Handlers = {
  start: async ({ node }) => void (await agentOf(node).start()),
  stop: async ({ node, how }) => void (await agentOf(node).stop(how)),
  add: ({ node, pod }) => agentOf(node).add(pod),
  del: async ({ node, pod }) => void (await agentOf(node).del(pod)),
  async unsettled() {
    return [...agents].filter(([, agent]) => !agent.isSettled).map(([name]) => name);
  },
  async take() {
    const taken = seen;
    seen = nothingSeen();
    const busy = performance.eventLoopUtilization(utilization).utilization;
    utilization = performance.eventLoopUtilization();
    const loopDelayP99Ms = delay.percentile(99) / 1e6;
    const loopDelayMaxMs = delay.max / 1e6;
    delay.reset();
    const journaled = [...agents.values()].reduce((sum, agent) => sum + agent.journalDepth, 0);
    return { seen: taken, loopDelayP99Ms, loopDelayMaxMs, busy, journaled };
  },
};

function agentOf(node: string): SimulatedAgent {
  const agent = agents.get(node);
  if (agent === undefined) throw new Error(`${node} is not of this worker`);
  return agent;
}

parentPort?.on("message", async ({ id, call, argument }: Question) => {
  const reply = (answer: Answer) => parentPort?.postMessage(answer);
  try {
    const handle = handlers[call] as (argument: unknown) => Promise<unknown>;
    reply({ id, answer: await handle(argument) });
  } catch (error) {
    reply({ id, failure: error instanceof Error ? error.message : String(error) });
  }
});
