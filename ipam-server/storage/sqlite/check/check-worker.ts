import { parentPort, workerData } from "node:worker_threads";
import Database from "better-sqlite3";
import { loadCatalog } from "../rows/catalog-rows.ts";
import { checkStore } from "./check-store.ts";

// A thread of its own: `checkCopy` starts it on the path of a copy and takes its findings.
const database = new Database(workerData as string, { readonly: true, fileMustExist: true });
parentPort?.postMessage(checkStore(database, loadCatalog(database)));
