import { type Dirent, readdirSync } from "node:fs";
import { isEntryName, type Journal, openJournal, pruneDamaged, setAside } from "../../journal/journal.ts";
import { describeError } from "../../spec/cni-error.ts";

/** No network has a name with a dot first. */
const DAMAGED = ".damaged";

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
    const entries = this.#names().flatMap(name => list(`${this.#dir}/${name}`));
    return entries.filter(({ name }) => isEntryName(name)).length;
  }

  /** Moves what is no journal to `.damaged/`, and logs a line for each. */
  async setAsideStray(log: (line: string) => void): Promise<void> {
    for (const { name } of list(this.#dir).filter(each => !each.isDirectory() && !each.name.startsWith("."))) {
      const outcome = await setAside(this.#dir, name, DAMAGED).then(() => "moved", describeError);
      log(`journals ${this.#dir}: ${name} is no journal: ${outcome === "moved" ? `moved to ${DAMAGED}/` : outcome}`);
      await pruneDamaged(this.#dir, log, DAMAGED);
    }
  }

  #names(): string[] {
    return list(this.#dir)
      .filter(each => each.isDirectory() && !each.name.startsWith("."))
      .map(({ name }) => name);
  }
}

/** Returns nothing if the directory does not exist. */
function list(dir: string): Dirent[] {
  try {
    return readdirSync(dir, { withFileTypes: true });
  } catch {
    return [];
  }
}
