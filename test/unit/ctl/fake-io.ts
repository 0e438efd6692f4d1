import { runProgram } from "../../../ipam-server/ctl/program.ts";

export interface CtlRun {
  exitCode: number;
  stdout: string;
  stderr: string;
}

export interface CtlWorld {
  server?: string;
  env?: Record<string, string>;
  files?: Record<string, string>;
  stdin?: string;
}

/** 20 minutes after the fixtures' times. */
export const NOW = new Date("2026-11-20T08:20:00.000Z");

/** Runs mooringctl in this process, isolated from the machine's environment and files. */
export async function runCtl(args: readonly string[], world: CtlWorld = {}): Promise<CtlRun> {
  const { files = {}, stdin = "", server } = world;
  let stdout = "";
  let stderr = "";
  const exitCode = await runProgram(args, {
    stdout: {
      write: async text => {
        stdout += text;
      },
    },
    stderr: {
      write: async text => {
        stderr += text;
      },
    },
    env: { ...(server !== undefined && { MOORING_SERVER: server }), ...world.env },
    readFile: path => {
      const content = files[path];
      if (content === undefined) throw new Error(`ENOENT: no such file or directory, open '${path}'`);
      return content;
    },
    readStdin: async () => stdin,
    clock: () => NOW,
    version: "1.2.3",
  });
  return { exitCode, stdout, stderr };
}
