/** What main.ts hands every benchmark, so that none of them touches the process itself. */
export interface BenchContext {
  /** The Node binary that runs the benchmark: servers are started with the same one. */
  nodePath: string;
  /** The project's root directory. */
  root: string;
  env: Readonly<Record<string, string | undefined>>;
  /** Ends early, with everything cleaned up. */
  signal: AbortSignal;
  /** One line for a person who waits. */
  progress(line: string): void;
}
