import { parentPort, workerData } from "node:worker_threads";
import Database from "better-sqlite3";
import type { ReadAnswer, ReadRequest } from "./read-thread.ts";
import { runRead } from "./run-read.ts";

/** The operating system caches the rest. */
const CACHE_KIB = 16_384;

// The thread of a `ReadThread`, which starts it with the path of the database and sends it requests.
const database = new Database(workerData as string, { fileMustExist: true });
database.pragma(`cache_size = -${CACHE_KIB}`);
database.pragma("temp_store = MEMORY");
database.pragma("wal_autocheckpoint = 0");
parentPort?.on("message", ({ id, kind, input }: ReadRequest) => {
  const answer: ReadAnswer = { id };
  try {
    answer.result = runRead(database, kind, input);
  } catch (error) {
    const { message, code } = error as Error & { code?: unknown };
    answer.failure = { message, ...(typeof code === "string" && { code }) };
  }
  parentPort?.postMessage(answer);
});
