import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpamError, type TransferEnd } from "../../../ipam-server/contract/index.ts";
import type { TransferRow } from "../../../ipam-server/domain/transfer/transfer.ts";
import { splitLines } from "../../../ipam-server/http/lines.ts";
import { encodeTransfer, TransferDecoder } from "../../../ipam-server/http/v1/transfer-lines.ts";

const TIME = "2026-11-20T08:00:00.000Z";
const ROWS: TransferRow[] = [
  {
    kind: "network",
    name: "net",
    labels: { a: "ä".replace("ä", "1"), env: "prod" },
    vpc: "default",
    segment: { type: "vlan", id: 10, physicalNetwork: "physnet1" },
    mtu: 0,
    createdAt: TIME,
    updatedAt: TIME,
    subnets: [
      {
        spec: { cidr: "fd00::/64", exclude: [], dns: {} },
        held: 1,
        outside: 0,
        freed: 0,
        pools: [{ range: "fd00::1-fd00::ffff:ffff:ffff:ffff", passed: "18446744073709551615" }],
      },
    ],
  },
  {
    kind: "port",
    key: 7,
    id: "id",
    name: "c1/default/web-0",
    network: "net",
    mac: "0a:59:00:00:00:07",
    addresses: ["fd00::1"],
    labels: {},
    retention: { policy: "sticky", ttlSeconds: 60 },
    owner: { kind: "pod", uid: "u", createdAt: TIME },
    binding: { host: "a", sandbox: { id: "s", interface: "eth0" }, boundAt: TIME, attemptedAt: TIME },
    epoch: 3,
    underlay: "ACTIVE",
    overlay: "ACTIVE",
    previousBindingReleased: true,
    createdAt: TIME,
    updatedAt: TIME,
  },
  { kind: "freed", network: "net", address: "fd00::2", pooled: true, freedAt: TIME, lastPort: "gone" },
  {
    kind: "cooling",
    segment: "physnet1/10",
    subnet: "10.5.0.0/29",
    address: "10.5.0.1",
    freedAt: TIME,
    lastPort: "past",
  },
  { kind: "state", lastSeq: 12, nextPortKey: 8, epochFloor: 0 },
];

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

async function* iterate<T>(items: Iterable<T>): AsyncGenerator<T> {
  yield* items;
}

async function encode(rows: readonly TransferRow[] = ROWS): Promise<string> {
  return (await collect(encodeTransfer(iterate(rows), new Date(TIME)))).join("");
}

async function decode(bytes: Uint8Array, size = bytes.length): Promise<(TransferRow | TransferEnd)[]> {
  const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
    bytes.subarray(i * size, (i + 1) * size),
  );
  return collect(new TransferDecoder().decode(iterate(chunks)));
}

/** Returns the line that the decoder rejects, and the reason. */
async function rejectionOf(text: string): Promise<{ line: number; message: string }> {
  const decoder = new TransferDecoder();
  try {
    await collect(decoder.decode(iterate([Buffer.from(text, "latin1")])));
  } catch (error) {
    assert.ok(error instanceof IpamError && error.code === "invalid_request", String(error));
    return { line: decoder.line, message: error.message };
  }
  return assert.fail("it was taken");
}

describe("transfer lines", () => {
  it("decodes what was encoded, in one chunk or byte by byte", async () => {
    const bytes = Buffer.from(await encode());
    const [header, ...lines] = bytes.toString().trimEnd().split("\n");
    assert.deepEqual(JSON.parse(header ?? ""), { kind: "mooring-export", format: 1, exportedAt: TIME });
    const content = `${lines.slice(0, -1).join("\n")}\n`;
    const hash = Buffer.from(await crypto.subtle.digest("SHA-256", Buffer.from(content))).toString("hex");
    const end = { kind: "end", rows: ROWS.length, digest: `sha256:${hash}` } as const;
    assert.deepEqual(await decode(bytes), [...ROWS, end]);
    assert.deepEqual(await decode(bytes, 1), [...ROWS, end]);
    assert.deepEqual(await decode(bytes, 2), [...ROWS, end]);
  });

  it("computes a checksum that is independent of the export's time", async () => {
    const at = async (time: string) =>
      (await collect(encodeTransfer(iterate(ROWS), new Date(time)))).join("").split("\n").at(-2);
    assert.equal(await at("2026-01-01T00:00:00Z"), await at(TIME));
  });

  describe("decoding a damaged export", () => {
    const WRONG: [what: string, change: (text: string) => string, line: number, message: RegExp][] = [
      ["an empty file", () => "", 1, /is missing/],
      ["another file", () => "# notes\n", 1, /is not JSON/],
      ["another JSON file", () => '{"kind":"List"}\n', 1, /header of an export/],
      [
        "a newer format",
        text => text.replace('"format":1', '"format":2,"zip":true'),
        1,
        /format 2 is newer than this program's 1/,
      ],
      [
        "a header with a field too many",
        text => text.replace('"format":1', '"format":1,"zip":true'),
        1,
        /zip: unknown field/,
      ],
      ["no end", text => text.slice(0, text.lastIndexOf('{"kind":"end"')), 7, /cut off before its end/],
      ["a line cut off", text => text.slice(0, -20), 7, /cut off/],
      [
        "a line cut off in the middle of the file",
        text => text.slice(0, text.indexOf('"previousBindingReleased"')),
        3,
        /cut off/,
      ],
      [
        "a line left out",
        text => text.split("\n").toSpliced(3, 1).join("\n"),
        6,
        /rows|counts 5 lines, but 4 were read/,
      ],
      ["a changed value", text => text.replace('"epoch":3', '"epoch":4'), 7, /checksum.*damaged or was edited/],
      ["a value of another type", text => text.replace('"epoch":3', '"epoch":"3"'), 3, /epoch: "3" is not a number/],
      [
        "an unknown field",
        text => text.replace('"epoch":3', '"epoch":3,"colour":"red"'),
        3,
        /colour: unknown field; accepted are kind, key/,
      ],
      [
        "an unknown field deep inside",
        text => text.replace('"exclude":[]', '"exclude":[],"vni":1'),
        2,
        /subnets\[0\]\.spec\.vni: unknown field/,
      ],
      ["an unknown kind", text => text.replace('"kind":"freed"', '"kind":"lease"'), 4, /kind: "lease" is not one of/],
      [
        "an address that is none",
        text => text.replace("fd00::2", "fd00::g"),
        4,
        /address: "fd00::g" is not an IPv4 or IPv6/,
      ],
      ["a prototype", text => text.replace('"labels":{}', '"labels":{"__proto__":"x"}'), 3, /__proto__/],
      ["bytes that are no text", text => text.replace("gone", "g\xff"), 4, /not UTF-8/],
      ["a broken line", text => text.replace('"epoch":3', '"epoch:3'), 3, /is not JSON/],
      ["an empty line", text => text.replace("\n", "\n\n"), 2, /is not JSON/],
      ["lines after the end", text => `${text}${text}`, 8, /follows the end line/],
    ];
    for (const [what, change, line, message] of WRONG) {
      it(`rejects ${what} with its line`, async () => {
        const rejection = await rejectionOf(change(await encode()));
        assert.equal(rejection.line, line, rejection.message);
        assert.match(rejection.message, message);
      });
    }

    it("rejects an endless line at the limit", async () => {
      let sent = 0;
      const endless = (async function* () {
        for (; ; sent += 100) yield Buffer.alloc(100, "x");
      })();
      await assert.rejects(collect(splitLines(endless, 1000)), /longer than 1000 bytes/);
      assert.ok(sent <= 1100);
    });
  });
});
