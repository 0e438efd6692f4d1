import { readFileSync } from "node:fs";
import { openDatapath } from "../../cni/datapath/datapath.ts";
import { dispatch } from "../../cni/dispatch.ts";
import { createExecutableBackend } from "../../cni/verbs/executable-backend.ts";

/**
 * The executable with a fault in it: `fault-call.ts STEP throw|kill|end` fails the datapath's step, dies in it as if by
 * SIGKILL, or has the runtime end the call during it.
 */
const [faultStep, fault] = process.argv.slice(2);
const ended = new AbortController();
const home = createExecutableBackend({
  log: line => process.stderr.write(`${line}\n`),
  signal: ended.signal,
});
const { env } = process;
const { stdout, exitCode } = await dispatch(
  { env, stdin: readFileSync(0, "utf8") },
  {
    ...home,
    openDatapath: async ({ ovsdb, timeoutMs }) =>
      openDatapath({
        ovsdb,
        timeoutMs,
        onStep: step => {
          if (step !== faultStep) return;
          if (fault === "kill") process.kill(process.pid, "SIGKILL");
          if (fault === "end") ended.abort(new Error("the runtime ended the call"));
          if (fault === "throw") throw new Error(`injected at ${step}`);
        },
      }),
  },
);
process.stdout.write(stdout);
process.exitCode = exitCode;
