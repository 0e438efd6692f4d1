import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import type Database from "better-sqlite3";
import type { Finding } from "../../../domain/store.ts";
import { copyDatabase, removeCopy } from "../transfer/copy-database.ts";

/** The build puts it into a bundle next to the one that contains this module. */
const WORKER = new URL(`./check-worker${extname(import.meta.filename)}`, import.meta.url);

/** Checks a copy of the database on another thread while commits continue, because a million ports take seconds. */
export async function checkCopy(database: Database.Database): Promise<Finding[]> {
  const copy = await copyDatabase(database);
  const { promise, resolve, reject } = Promise.withResolvers<Finding[]>();
  try {
    const worker = new Worker(WORKER, { workerData: copy });
    worker.once("message", resolve).once("error", reject);
    worker.once("exit", code => reject(new Error(`the check's thread exited with code ${code}`)));
    return await promise;
  } finally {
    await removeCopy(copy);
  }
}
