import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parsePostgresUrl } from "../../../ipam-server/storage/postgres/database/postgres-url.ts";

describe("postgres URL", () => {
  it("parses one host or several, and builds a URL for each", () => {
    const one = parsePostgresUrl("postgres://me:p%40ss@db.example:6543/mooring?sslmode=require");
    assert.deepEqual([one.hosts, one.database], [[{ host: "db.example", port: 6543 }], "mooring"]);
    assert.equal(one.forHost(0), "postgres://me:p%40ss@db.example:6543/mooring?sslmode=verify-full");
    const many = parsePostgresUrl("postgresql://me@h1,h2:6000,[fd00::1]:7000/db?target_session_attrs=read-write");
    assert.equal(many.name, "db on h1:5432, h2:6000, [fd00::1]:7000");
    assert.deepEqual(
      [many.forHost(1), many.forHost(2)],
      ["postgres://me@h2:6000/db", "postgres://me@[fd00::1]:7000/db"],
    );
  });

  it("accepts a socket's directory as libpq does", () => {
    const { hosts, forHost } = parsePostgresUrl("postgres://me@/db?host=/run/postgresql&port=5433");
    assert.deepEqual(hosts, [{ host: "/run/postgresql", port: 5433 }]);
    assert.equal(forHost(0), "postgres://me@%2Frun%2Fpostgresql:5433/db");
  });

  it("rejects an unknown parameter, TLS mode or port with what is accepted", () => {
    for (const [text, message] of [
      ["postgres://me@h/db?sslmod=disable", /unknown parameter sslmod; known are host, port, sslmode/],
      ["postgres://me@h/db?sslmode=prefer", /unknown sslmode; known are disable, require/],
      ["postgres://me@h:99999/db", /a port that is none/],
      ["postgres://me@/db?host=/run&port=abc", /a port that is none/],
    ] as const) {
      assert.throws(() => parsePostgresUrl(text), message);
    }
  });

  it("rejects an invalid URL without repeating the password", () => {
    for (const text of [
      "postgres://me:secret@host",
      "postgres://me:secret@host:0/db",
      "postgres://me:secret@ho[st/db",
    ]) {
      assert.throws(
        () => parsePostgresUrl(text),
        (error: Error) => !error.message.includes("secret"),
        text,
      );
    }
  });
});
