import { readdirSync } from "node:fs";
import { type Journal, openJournal } from "../../journal/journal.ts";

/** The journals of one directory: one a network, which the executable writes too, and the agent's own. */
export class Journals {
  readonly #dir: string;
  readonly #open = new Map<string, Journal>();

  constructor(dir: string) {
    this.#dir = dir;
  }

  of(name: string): Journal {
    let journal = this.#open.get(name);
    journal ??= openJournal(`${this.#dir}/${name}`, { now: () => new Date() });
    this.#open.set(name, journal);
    return journal;
  }

  /** Returns the journals that exist now. */
  all(): Journal[] {
    return this.#names().map(name => this.of(name));
  }

  /** Returns the number of entries in all journals. */
  depth(): number {
    const entries = this.#names().flatMap(name => listFiles(`${this.#dir}/${name}`));
    return entries.filter(name => name.endsWith(".json")).length;
  }

  #names(): string[] {
    return listFiles(this.#dir).filter(name => !name.startsWith("."));
  }
}

/** Returns nothing if the directory does not exist. */
function listFiles(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}
