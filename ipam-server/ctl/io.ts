/** A stream of text. `write` resolves when more may be written, which bounds memory for long lists. */
export interface Sink {
  write(text: string): Promise<void>;
}

/** Input and output of mooringctl. main.ts passes the process's own; tests pass fakes. */
export interface Io {
  stdout: Sink;
  stderr: Sink;
  env: Readonly<Record<string, string | undefined>>;
  readFile(path: string): string;
  readStdin(): Promise<string>;
  clock(): Date;
  version: string;
}
