/** A stream of text. Resolves when more may be written, so that a million ports do not pile up in memory. */
export interface Sink {
  write(text: string): Promise<void>;
}

/** Everything mooringctl knows of the world around it; only main.ts gives it the real one. */
export interface Io {
  stdout: Sink;
  stderr: Sink;
  env: Readonly<Record<string, string | undefined>>;
  readFile(path: string): string;
  readStdin(): Promise<string>;
  clock(): Date;
  version: string;
}
