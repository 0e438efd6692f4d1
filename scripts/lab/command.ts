import { spawn } from "node:child_process";

export interface CommandResult {
  /** Exit code; -1 when a signal ended it, which stderr then names. */
  code: number;
  stdout: string;
  stderr: string;
  elapsedMs: number;
}

export interface CommandOptions {
  input?: string;
  /** The complete environment; absent: this process's own. */
  env?: Record<string, string>;
  cwd?: string;
  /** Default 60 s; the command is then killed, and its result says so. */
  timeoutMs?: number;
}

/** Runs a command to its end. A failing command is a result, not an error; a command that cannot start rejects. */
export function run(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const { promise, resolve, reject } = Promise.withResolvers<CommandResult>();
  const [file = "", ...args] = argv;
  const started = performance.now();
  const timeoutMs = options.timeoutMs ?? 60_000;
  const child = spawn(file, args, {
    stdio: "pipe",
    ...(options.env && { env: options.env }),
    ...(options.cwd !== undefined && { cwd: options.cwd }),
  });
  let stdout = "";
  let stderr = "";
  const timer = setTimeout(() => {
    stderr += `\n(killed after ${timeoutMs} ms)`;
    child.kill("SIGKILL");
  }, timeoutMs);
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  // A command may end without reading its input.
  child.stdin.on("error", () => {});
  child.stdin.end(options.input ?? "");
  child.on("error", error => {
    clearTimeout(timer);
    reject(new Error(`cannot run ${argv.join(" ")}: ${error.message}`, { cause: error }));
  });
  child.on("close", (code, signal) => {
    clearTimeout(timer);
    if (signal !== null) stderr += `\n(ended by ${signal})`;
    resolve({ code: code ?? -1, stdout, stderr, elapsedMs: performance.now() - started });
  });
  return promise;
}

/** Runs a command that must succeed and returns its output. */
export async function must(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await run(argv, options);
  if (code !== 0) throw new Error(`${argv.join(" ")} ended with ${code}: ${(stderr || stdout).trim()}`);
  return stdout;
}

/**
 * Polls until `look` returns a value that is not undefined or false. Rejects at the deadline with what was awaited.
 */
export async function waitFor<T>(
  what: string,
  look: () => Promise<T | undefined | false> | T | undefined | false,
  timeoutMs = 15_000,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > deadline) throw new Error(`gave up after ${timeoutMs} ms waiting for ${what}`);
    await new Promise(resolve => setTimeout(resolve, 15));
  }
}
