import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import Database from "better-sqlite3";
import type { ReadInput, ReadKind, ReadResult } from "./run-read.ts";

/** The build puts it into a bundle next to the one that contains this module. */
const WORKER = new URL(`./read-worker${extname(import.meta.filename)}`, import.meta.url);

export interface ReadRequest {
  id: number;
  kind: ReadKind;
  input: ReadInput<ReadKind>;
}

export interface ReadAnswer {
  id: number;
  result?: unknown;
  failure?: { message: string; code?: string };
}

/** A thread with a connection of its own, which runs reads in order while commits continue. */
export class ReadThread implements AsyncDisposable {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #nextId = 1;
  /** Why the thread has ended. */
  #end: Error | undefined;

  constructor(path: string) {
    this.#worker = new Worker(WORKER, { workerData: path });
    this.#worker.unref();
    this.#worker.on("message", (answer: ReadAnswer) => this.#settle(answer));
    this.#worker.on("error", error => this.#fail(error instanceof Error ? error : new Error(String(error))));
    this.#worker.on("exit", code => this.#fail(new Error(`the thread for reads exited with code ${code}`)));
  }

  get hasEnded(): boolean {
    return this.#end !== undefined;
  }

  /** Rejects with SQLite's own error. */
  run<K extends ReadKind>(kind: K, input: ReadInput<K>): Promise<ReadResult<K>> {
    if (this.#end) return Promise.reject(this.#end);
    const id = this.#nextId++;
    const waiting = Promise.withResolvers<unknown>();
    this.#waiting.set(id, waiting);
    this.#worker.ref();
    const request: ReadRequest = { id, kind, input };
    this.#worker.postMessage(request);
    return waiting.promise as Promise<ReadResult<K>>;
  }

  /** Rejects what runs, and ends the thread. */
  stop(reason: Error): void {
    this.#fail(reason);
    void this.#worker.terminate();
  }

  #settle({ id, result, failure }: ReadAnswer): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (this.#waiting.size === 0) this.#worker.unref();
    if (failure === undefined) waiting?.resolve(result);
    else waiting?.reject(toError(failure));
  }

  #fail(error: Error): void {
    this.#end ??= error;
    for (const { reject } of this.#waiting.values()) reject(this.#end);
    this.#waiting.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.terminate();
  }
}

const toError = ({ message, code }: NonNullable<ReadAnswer["failure"]>): Error =>
  code === undefined ? new Error(message) : new Database.SqliteError(message, code);
