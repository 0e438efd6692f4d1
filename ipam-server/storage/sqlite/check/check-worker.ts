import { parentPort, workerData } from "node:worker_threads";
import Database from "better-sqlite3";
import { loadCatalog } from "../rows/catalog-rows.ts";
import { checkStore } from "./check-store.ts";

// The thread that `checkCopy` starts with the path of a copy; it posts its findings.
const database = new Database(workerData as string, { readonly: true, fileMustExist: true });
parentPort?.postMessage(checkStore(database, loadCatalog(database)));
