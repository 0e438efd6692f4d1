import type { IpamClient } from "../../ipam-server/client/client.ts";
import { IpamError } from "../../ipam-server/contract/ipam-error.ts";
import type { VerbBackend } from "./backend.ts";

/** The backend of a one-shot call: loads and opens only what this call needs. */
export function createExecutableBackend({ log, signal }: Pick<VerbBackend, "log" | "signal">): VerbBackend {
  const now = () => new Date();
  return {
    log,
    signal,
    now,
    findBridges: ({ bridges }) => bridges,
    identify: ({ upstream }) => (upstream.kind === "direct" ? upstream : undefined),
    async deriveClaim(call) {
      const { upstream } = call.config;
      if (upstream.kind === "agent") throw new IpamError("unavailable", describeAbsent(upstream.socket));
      const { deriveClaim } = await import("./claim.ts");
      return deriveClaim(call, upstream, now());
    },
    reserveExpectedPort: () => undefined,
    buildRelease: (_call, sandbox) => ({ sandbox }),
    async openDatapath(config) {
      const { openDatapath } = await import("../datapath/datapath.ts");
      return openDatapath({ ovsdb: config.ovsdb, timeoutMs: config.timeoutMs });
    },
    async openIpam({ upstream, timeoutMs }) {
      if (upstream.kind === "agent") return createAbsentAgent(upstream.socket);
      const { createIpamClient } = await import("../../ipam-server/client/client.ts");
      return createIpamClient({ ...upstream, timeoutMs, signal });
    },
    async openJournal({ journalDir, name }) {
      const { openJournal } = await import("../journal/journal.ts");
      return openJournal(`${journalDir}/${name}`, { now });
    },
  };
}

/** Used when no agent answered: claims fail as unavailable, DEL journals its release. */
function createAbsentAgent(socket: string): IpamClient {
  const absent = () => Promise.reject(new IpamError("unavailable", describeAbsent(socket)));
  return {
    claim: absent,
    release: absent,
    report: absent,
    readPort: absent,
    ready: absent,
    async [Symbol.asyncDispose]() {},
  };
}

function describeAbsent(socket: string): string {
  return `the agent at ${socket} does not answer: check that it runs on this node`;
}
