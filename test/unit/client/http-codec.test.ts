import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AnswerParser, formatRequest, type HttpAnswer } from "../../../ipam-server/client/http-codec.ts";

/** Parses the bytes in pieces of a size, and ends the connection after them if `ended`. */
function parse(text: string, size: number, ended = false): HttpAnswer | undefined {
  const bytes = Buffer.from(text);
  const parser = new AnswerParser();
  let answer: HttpAnswer | undefined;
  for (let start = 0; start < bytes.length; start += size) {
    assert.equal(answer, undefined, "an answer came before its last byte");
    answer = parser.push(bytes.subarray(start, start + size));
  }
  return ended && answer === undefined ? parser.end() : answer;
}

const ANSWERS: [what: string, text: string, answer: HttpAnswer, ended?: boolean][] = [
  [
    "a content-length",
    'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{"ü":1}',
    { status: 200, body: '{"ü":1}', reusable: true },
  ],
  ["no body", "HTTP/1.1 204 No Content\r\n\r\n", { status: 204, body: "", reusable: true }],
  ["an empty body", "HTTP/1.1 200 \r\ncontent-length:0\r\n\r\n", { status: 200, body: "", reusable: true }],
  [
    "chunks, an extension and a trailer",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n",
    { status: 200, body: "abc0123456789", reusable: true },
  ],
  [
    "an interim answer before it",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\n{}",
    { status: 503, body: "{}", reusable: true },
  ],
  [
    "connection: close",
    "HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 2\r\n\r\n{}",
    { status: 200, body: "{}", reusable: false },
  ],
  ["HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", { status: 200, body: "{}", reusable: false }],
  ["an end by the connection's", "HTTP/1.1 200 OK\r\n\r\n{}", { status: 200, body: "{}", reusable: false }, true],
];

describe("HTTP codec", () => {
  for (const [what, text, expected, ended] of ANSWERS) {
    it(`parses an answer with ${what} the same for every split of its bytes`, () => {
      for (const size of [1, 2, 3, 7, text.length]) assert.deepEqual(parse(text, size, ended), expected);
    });
  }

  const DAMAGED: [text: string, complaint: RegExp][] = [
    ["SSH-2.0-OpenSSH\r\n\r\n", /does not speak HTTP/],
    ["HTTP/2 200\r\n\r\n", /does not speak HTTP/],
    ["HTTP/1.1 200 OK\r\nno colon\r\n\r\n", /header without a name/],
    ["HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", /no number/],
    ["HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", /too large/],
    ["HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{}", /longer than it says/],
    ["HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", /encoded as gzip/],
    ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", /no length/],
    ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", /no end/],
    ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n", /too large/],
    [`HTTP/1.1 200 OK\r\nX: ${"x".repeat(70_000)}`, /head of the answer is too large/],
  ];

  for (const [text, complaint] of DAMAGED) {
    it(`rejects an invalid answer: ${complaint.source}`, () => {
      assert.throws(() => parse(text, text.length), complaint);
      if (text.length < 1000 && complaint.source !== "longer than it says")
        assert.throws(() => parse(text, 1), complaint);
    });
  }

  it("rejects an answer that is cut at any byte", () => {
    for (const [, text, , ended] of ANSWERS) {
      if (ended) continue;
      for (let length = 0; length < text.length; length++) {
        const parser = new AnswerParser();
        assert.equal(parser.push(Buffer.from(text.slice(0, length))), undefined);
        assert.throws(() => parser.end(), /ended before the answer was complete/);
      }
    }
  });

  it("writes a request with the length of its body in bytes", () => {
    const request = {
      method: "POST",
      path: "/v1/claims",
      host: "h:1",
      headers: { authorization: "Bearer t" },
      body: "ü",
    };
    assert.equal(
      formatRequest(request).toString(),
      "POST /v1/claims HTTP/1.1\r\nhost: h:1\r\naccept: application/json\r\nauthorization: Bearer t\r\n" +
        "content-type: application/json\r\ncontent-length: 2\r\n\r\nü",
    );
    const { body: _body, ...get } = { ...request, method: "GET", headers: {} };
    assert.equal(
      formatRequest(get).toString(),
      "GET /v1/claims HTTP/1.1\r\nhost: h:1\r\naccept: application/json\r\n\r\n",
    );
  });
});
