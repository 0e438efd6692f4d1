import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Duty, Term } from "../../../ipam-server/domain/model/leadership.ts";
import type { Store } from "../../../ipam-server/domain/store.ts";
import { openPostgresStore } from "../../../ipam-server/storage/postgres/postgres-store.ts";
import { CuttingProxy } from "../support/cutting-proxy.ts";
import { PrivatePostgres } from "../support/private-postgres.ts";

const DEADLINE_MS = 60_000;

let server: PrivatePostgres;
before(async () => {
  server = await PrivatePostgres.start();
});
after(() => server[Symbol.asyncDispose]());

/** What several replicas' duties did, and that never two of them did it at once. */
class Watch {
  readonly terms: { who: string; term: Term }[] = [];
  #active: string | undefined;
  #changed = Promise.withResolvers<void>();

  dutyOf(who: string, stop: () => Promise<unknown> = async () => {}): Duty {
    return async term => {
      assert.equal(this.#active, undefined, `${who} began while ${this.#active} had not ended`);
      this.#active = who;
      this.terms.push({ who, term });
      this.#changed.resolve();
      this.#changed = Promise.withResolvers();
      if (!term.signal.aborted) await once(term.signal, "abort");
      await stop();
      this.#active = undefined;
    };
  }

  /** The so-manieth term, counted from 0. */
  async term(index: number): Promise<{ who: string; term: Term }> {
    const late = AbortSignal.timeout(DEADLINE_MS);
    for (;;) {
      const found = this.terms[index];
      if (found) return found;
      late.throwIfAborted();
      await Promise.race([this.#changed.promise, delay(100)]);
    }
  }
}

/** A hold so long that within a test only a hand-over ends it. */
const FOR_EVER = { holdMs: 3_600_000, renewMs: 100 };
const SHORT = { holdMs: 2000, marginMs: 800, renewMs: 100 };
const until = async (url: string): Promise<number> => {
  const [row] = await server.query<{ until: Date }>("SELECT until FROM leadership", url);
  return row?.until.getTime() ?? 0;
};

describe("leadership of several replicas", () => {
  it("hands over in a greater term once the duty has stopped", async () => {
    const url = await server.createDatabase();
    await using stack = new AsyncDisposableStack();
    const watch = new Watch();
    const handles = new Map<string, AsyncDisposable>();
    for (const who of ["one", "two", "three"]) {
      const store = stack.use(await openPostgresStore({ url, readers: 1, leadership: FOR_EVER }));
      handles.set(who, stack.use(store.lead(watch.dutyOf(who, () => delay(50)))));
    }
    for (let index = 0; index < 3; index++) {
      const { who, term } = await watch.term(index);
      assert.equal(term.number, index + 1);
      await handles.get(who)?.[Symbol.asyncDispose]();
      assert.ok(term.signal.aborted);
    }
    assert.equal(new Set(watch.terms.map(({ who }) => who)).size, 3);
  });

  it("stops a leader without a database before another one starts", async () => {
    const url = await server.createDatabase();
    await using proxy = await CuttingProxy.start(url);
    const watch = new Watch();
    await using stack = new AsyncDisposableStack();
    const lead = async (store: Store, who: string) => stack.use(store.lead(watch.dutyOf(who)));
    await lead(stack.use(await openPostgresStore({ url: proxy.url, readers: 1, leadership: SHORT })), "cut off");
    const first = await watch.term(0);
    await lead(stack.use(await openPostgresStore({ url, readers: 1, leadership: SHORT })), "other");
    proxy.freeze();
    const second = await watch.term(1);
    assert.equal(second.who, "other");
    assert.ok(first.term.signal.aborted && second.term.number > first.term.number);
    proxy.cutAll();
    proxy.refuses = true;
  });

  it("keeps the term when a lost connection is replaced", async () => {
    const url = await server.createDatabase();
    await using proxy = await CuttingProxy.start(url);
    const watch = new Watch();
    await using stack = new AsyncDisposableStack();
    // A hold much longer than a machine under load takes to connect.
    const leadership = { holdMs: 30_000, marginMs: 1000, renewMs: 50 };
    for (const [who, at] of [["led", proxy.url] as const, ["other", url] as const]) {
      const store = stack.use(await openPostgresStore({ url: at, readers: 1, leadership }));
      stack.use(store.lead(watch.dutyOf(who)));
      await watch.term(0);
    }
    for (let round = 0; round < 3; round++) {
      proxy.cutAll();
      const cutAt = await until(url);
      for (const late = AbortSignal.timeout(DEADLINE_MS); (await until(url)) === cutAt; await delay(20)) {
        late.throwIfAborted();
      }
    }
    assert.deepEqual(
      watch.terms.map(({ who, term }) => [who, term.number, term.signal.aborted]),
      [["led", 1, false]],
    );
  });

  it("elects one leader in a later term after a long outage", async () => {
    const url = await server.createDatabase();
    const watch = new Watch();
    await using stack = new AsyncDisposableStack();
    for (const who of ["one", "two"]) {
      const store = stack.use(await openPostgresStore({ url, readers: 1, leadership: SHORT }));
      stack.use(store.lead(watch.dutyOf(who)));
    }
    const { term } = await watch.term(0);
    await server.down("immediate");
    await once(term.signal, "abort");
    await server.up();
    assert.ok((await watch.term(1)).term.number > term.number);
  });
});
