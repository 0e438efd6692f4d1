import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { KubeError } from "../../../ipam-server/kube/kube-error.ts";
import { type PodView, readPodView, type WatchEvent } from "../../../ipam-server/kube/objects.ts";
import { Reflector } from "../../../ipam-server/kube/reflector.ts";

const pod = (name: string, version = "1") => ({
  metadata: { namespace: "shop", name, uid: `uid-${name}`, resourceVersion: version },
});
const change = (type: "ADDED" | "MODIFIED" | "DELETED", name: string, version: string): WatchEvent => ({
  type,
  object: pod(name, version),
  resourceVersion: version,
});

type List = () => { items: unknown[]; resourceVersion: string };
type Watch = (version: string, emit: (event: WatchEvent) => void) => void;

/** Plays the script, one step a call; when it ends, the watch stays open. */
async function play(lists: List[], watches: Watch[], mayBeAbsent = false) {
  const over = Promise.withResolvers<void>();
  const errors: number[] = [];
  const versions: string[] = [];
  let pauses = 0;
  const api = {
    async list() {
      const next = lists.shift();
      if (next === undefined) throw new Error("one list too many");
      return next();
    },
    listCached: () => Promise.reject(new Error("for small lists only")),
    async watch(_path: string, version: string, emit: (event: WatchEvent) => void, signal: AbortSignal) {
      versions.push(version);
      const next = watches.shift();
      if (next !== undefined) return next(version, emit);
      over.resolve();
      await new Promise(resolve => signal.addEventListener("abort", resolve));
    },
  };
  const reflector = new Reflector<PodView>({
    api,
    path: "/api/v1/pods",
    read: readPodView,
    keyOf: item => item.uid,
    mayBeAbsent,
    onError: error => errors.push(error.status),
    delayMs: () => {
      pauses++;
      return 0;
    },
  });
  await over.promise;
  const names = [...(reflector.items?.values() ?? [])].map(item => item.name).sort();
  await reflector[Symbol.asyncDispose]();
  return { names, errors, versions, pauses };
}
const listed =
  (version: string, ...names: string[]) =>
  () => ({ items: names.map(name => pod(name)), resourceVersion: version });
const fails = (status: number) => () => {
  throw new KubeError(status, "no");
};

describe("Reflector of a scripted API", () => {
  it("follows changes, and resumes where the server ended the watch", async () => {
    const { names, versions, pauses } = await play(
      [listed("10", "a", "b")],
      [
        (_, emit) => {
          emit(change("ADDED", "c", "11"));
          emit(change("DELETED", "a", "12"));
        },
        (_, emit) => emit({ type: "BOOKMARK", resourceVersion: "40" }),
      ],
    );
    assert.deepEqual(names, ["b", "c"]);
    assert.deepEqual(versions, ["10", "12", "40"]);
    assert.equal(pauses, 2, "pauses before it repeats a watch that ended at once");
  });
  it("resumes after a broken connection without another list", async () => {
    const broken = () => {
      throw KubeError.from(new Error("ECONNRESET"));
    };
    const { versions, errors } = await play(
      [listed("10", "a")],
      [(_, emit) => emit(change("ADDED", "b", "11")), broken],
    );
    assert.deepEqual(versions, ["10", "11", "11"]);
    assert.deepEqual(errors, [0]);
  });
  it("lists again if its version is too old, and drops deleted items", async () => {
    const { names, errors } = await play([listed("10", "a", "b"), listed("90", "b")], [fails(410)]);
    assert.deepEqual(names, ["b"]);
    assert.deepEqual(errors, [], "an expired version is no error");
  });
  it("keeps what it had while a list fails", async () => {
    const { names, errors } = await play([listed("10", "a"), fails(500), listed("90", "a", "z")], [fails(410)]);
    assert.deepEqual(names, ["a", "z"]);
    assert.deepEqual(errors, [500]);
  });
  it("reports an unreadable object and lists again", async () => {
    const odd = (_: string, emit: (event: WatchEvent) => void) =>
      emit({ type: "MODIFIED", object: { metadata: {} }, resourceVersion: "11" });
    const { names, errors } = await play([listed("10", "a"), listed("20", "a", "b")], [odd]);
    assert.deepEqual(names, ["a", "b"]);
    assert.deepEqual(errors, [0]);
  });
  it("waits without errors for a resource that the API does not serve yet", async () => {
    const { names, errors } = await play([fails(404), listed("10", "a")], [], true);
    assert.deepEqual(names, ["a"]);
    assert.deepEqual(errors, []);
  });
});

describe("Reflector", () => {
  it("has no items before the first list or after the resource is gone", async () => {
    const gate = Promise.withResolvers<{ items: unknown[]; resourceVersion: string }>();
    let lists = 0;
    const gone = Promise.withResolvers<void>();
    const reflector = new Reflector<PodView>({
      api: {
        list: () => (lists++ === 0 ? gate.promise : Promise.reject(new KubeError(404, "no such resource"))),
        listCached: () => Promise.reject(new Error("for small lists only")),
        watch: () => Promise.reject(new KubeError(404, "no such resource")),
      },
      path: "/x",
      read: readPodView,
      keyOf: item => item.uid,
      mayBeAbsent: true,
      delayMs() {
        gone.resolve();
        return 60_000;
      },
    });
    assert.equal(reflector.items, undefined);
    gate.resolve({ items: [], resourceVersion: "1" });
    await gone.promise;
    assert.equal(reflector.items, undefined);
    await reflector[Symbol.asyncDispose]();
  });

  it("lists few objects from the watch cache, never older than what it has seen", async () => {
    const asked: (string | undefined)[] = [];
    const over = Promise.withResolvers<void>();
    await using _ = new Reflector<PodView>({
      api: {
        list: () => Promise.reject(new Error("reads etcd")),
        async listCached(_path, version) {
          asked.push(version);
          if (asked.length === 2) over.resolve();
          return { items: [], resourceVersion: "10" };
        },
        async watch(_path, _version, emit) {
          emit(change("ADDED", "a", "12"));
          throw new KubeError(410, "too old");
        },
      },
      path: "/x",
      isSmall: true,
      read: readPodView,
      keyOf: item => item.uid,
      delayMs: failures => (failures > 1 ? 60_000 : 0),
    });
    await over.promise;
    assert.deepEqual(asked, [undefined, "12"]);
  });
});
