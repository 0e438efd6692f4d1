import Database from "better-sqlite3";

/** A plain connection to a file, past the store; disposing it a second time does nothing. */
export class PlainDatabase implements Disposable {
  readonly database: Database.Database;
  constructor(path: string) {
    this.database = new Database(path);
  }
  [Symbol.dispose](): void {
    this.database.close();
  }
}
