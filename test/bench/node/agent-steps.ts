import type { LabAgent } from "../../agent/agent-lab.ts";

/** The agent's own histograms: `ADD/plug` and so on to how often and how long. */
export type Steps = Map<string, { count: number; seconds: number }>;

const LINE =
  /^mooring_agent_call_seconds_(?<what>count|sum)\{command="(?<command>\w+)",step="(?<step>\w+)"\} (?<value>\S+)/;

export async function readSteps(agent: LabAgent | undefined): Promise<Steps> {
  const { body = "" } = (await agent?.read("/metrics")) ?? {};
  const steps: Steps = new Map();
  for (const line of body.split("\n")) {
    const { what, command, step, value } = LINE.exec(line)?.groups ?? {};
    if (what === undefined) continue;
    const entry = steps.get(`${command}/${step}`) ?? { count: 0, seconds: 0 };
    steps.set(`${command}/${step}`, { ...entry, [what === "sum" ? "seconds" : what]: Number(value) });
  }
  return steps;
}

/** Mean milliseconds of a step between two readings; undefined where it did not occur. */
export function meanMs(before: Steps, after: Steps, step: string): number | undefined {
  const [from, to] = [before.get(step), after.get(step)];
  const count = (to?.count ?? 0) - (from?.count ?? 0);
  return count === 0 ? undefined : (((to?.seconds ?? 0) - (from?.seconds ?? 0)) / count) * 1000;
}
