import { realpathSync, statSync } from "node:fs";
import type Database from "better-sqlite3";
import type { StorageUsage } from "../../../domain/store.ts";
import type { EventLog } from "../statements/event-log.ts";
import { DiskReserve } from "./disk-reserve.ts";
import { DiskSpaceProbe } from "./disk-space-probe.ts";
import { readDiskUsage, readVolume } from "./disk-usage.ts";
import { isDiskFull } from "./errors.ts";
import { inTransaction } from "./in-transaction.ts";

/** Events that are deleted at once; fewer, if the deletion itself finds no space. */
const SLICES = [1000, 100, 10];
/** The newest events, which remain even on a full disk. */
const KEPT_EVENTS = 10_000;
/** The space is measured after this many events, which take about a mebibyte of log. */
const MEASURE_EVERY = 64;
/** How long a checkpoint waits for readers to end. */
const CHECKPOINT_WAIT_MS = 100;

interface DiskSpaceOptions {
  database: Database.Database;
  events: EventLog;
  /** Ends reads on other threads: the log cannot start over while they read it. */
  stopReads(): void;
  warn(message: string): void;
}

/** Keeps changes possible while the disk is full or nearly so, at the expense of the reserve, long reads and history. */
export class DiskSpace {
  readonly #options: DiskSpaceOptions;
  readonly #measure: Database.Statement<[], [pages: number, unused: number, pageBytes: number]>;
  readonly #probe: DiskSpaceProbe;
  /** Without symbolic links. */
  readonly #path: string;
  /** Undefined for a database in memory. */
  readonly #reserve: DiskReserve | undefined;
  #deletedEvents = 0;
  #reportedEvents = 0;
  #unmeasuredEvents = 0;

  constructor(options: DiskSpaceOptions) {
    this.#options = options;
    const { database } = options;
    this.#path = database.memory ? database.name : realpathSync(database.name);
    this.#probe = new DiskSpaceProbe(this.#path);
    this.#reserve = database.memory ? undefined : new DiskReserve(this.#path);
    this.#measure = database
      .prepare<[], [number, number, number]>(
        "SELECT page_count, freelist_count, page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
      )
      .raw();
  }

  readUsage(): StorageUsage {
    const usage = { ...readDiskUsage(this.#options.database), eventsDeletedForSpace: this.#deletedEvents };
    return this.#reserve === undefined ? usage : { ...usage, reserve: this.#reserve.held };
  }

  /** Throws SQLite's error for a full disk while there is no space. */
  assertFree(): void {
    this.#probe.probe(this.#reserve?.held);
  }

  /** To be called with the error of a failed change. */
  observeFailure(error: unknown): void {
    this.#probe.observe(error);
  }

  /** Commits the change, or throws its error and leaves the database as it was. */
  transact<T>(change: () => T): T {
    const { database, events } = this.#options;
    const { lastSeq } = events;
    const result = this.#retryOnFullDisk(() => {
      try {
        return inTransaction(database, change);
      } catch (error) {
        events.reload();
        throw error;
      }
    });
    this.#observe(events.lastSeq - lastSeq);
    return result;
  }

  /** When the change finds no space, releases the reserve, copies the log into the database and runs it again. */
  #retryOnFullDisk<T>(change: () => T): T {
    const { warn, stopReads } = this.#options;
    try {
      return change();
    } catch (error) {
      if (!isDiskFull(error) || this.#reserve === undefined) throw error;
      if (this.#reserve.release()) warn("the database's disk is full; deleted its reserve to continue");
    }
    stopReads();
    this.#checkpoint("TRUNCATE");
    this.#unmeasuredEvents = MEASURE_EVERY;
    return change();
  }

  /** Keeps space after a commit that wrote so many events. Does not throw, because the change is durable. */
  #observe(events: number): void {
    this.#unmeasuredEvents += events;
    if (this.#reserve === undefined || this.#unmeasuredEvents < MEASURE_EVERY) return;
    this.#unmeasuredEvents = 0;
    try {
      this.#keepSpace(this.#reserve.size);
    } catch (error) {
      this.#options.warn(`cannot keep space on the database's disk, retrying: ${messageOf(error)}`);
    }
  }

  #keepSpace(reserved: number): void {
    const { log, growth, free, unused } = this.#readSizes();
    // What the log adds to the database has to fit into the reserve, should others fill the disk meanwhile.
    if (growth > reserved / 2) this.#checkpoint("PASSIVE");
    // The log may take half of what is left. A small one keeps its file, rather than ask for the space again.
    if (log > free && this.#checkpoint(log > reserved ? "TRUNCATE" : "RESTART")) this.#options.stopReads();
    // Deleting makes no file smaller, but what changes add to the database then finds unused pages in it.
    if (free + unused < reserved) this.#deleteSlice();
  }

  /** Rebuilds the reserve when there is space, and reports what was deleted. To be called periodically. */
  async maintain(): Promise<void> {
    const { warn } = this.#options;
    const deleted = this.#deletedEvents - this.#reportedEvents;
    if (deleted > 0) warn(`the database's disk has little space; deleted ${deleted} of the oldest events to continue`);
    this.#reportedEvents = this.#deletedEvents;
    try {
      if (await this.#reserve?.build()) warn("the database's disk has space; made its reserve");
    } catch (error) {
      warn(`the database's reserve cannot be made, retrying: ${messageOf(error)}`);
    }
  }

  /** Returns how many events were deleted: none if no more may be, or if there is no space even for that. */
  #deleteSlice(): number {
    const { database, events } = this.#options;
    for (const slice of SLICES) {
      try {
        const deleted = inTransaction(database, () => events.deleteOldest(slice, KEPT_EVENTS));
        if (deleted > 0) this.#checkpoint("TRUNCATE");
        this.#deletedEvents += deleted;
        return deleted;
      } catch (error) {
        events.reload();
        if (!isDiskFull(error)) throw error;
      }
    }
    return 0;
  }

  /** Returns whether readers keep the log from starting over. A checkpoint that finds no space leaves it as it is. */
  #checkpoint(mode: "PASSIVE" | "RESTART" | "TRUNCATE"): boolean {
    const { database } = this.#options;
    const waitMs = Number(database.pragma("busy_timeout", { simple: true }));
    try {
      database.pragma(`busy_timeout = ${CHECKPOINT_WAIT_MS}`);
      return database.pragma(`wal_checkpoint(${mode})`, { simple: true }) === 1;
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      return false;
    } finally {
      database.pragma(`busy_timeout = ${waitMs}`);
    }
  }

  #readSizes(): { log: number; growth: number; free: number; unused: number } {
    const path = this.#path;
    const [pages = 0, unused = 0, pageBytes = 0] = this.#measure.get() ?? [];
    return {
      log: statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0,
      growth: pages * pageBytes - statSync(path).size,
      free: readVolume(path).free,
      unused: unused * pageBytes,
    };
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
