import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { mergeLocalPorts } from "../../../../cni/agent/upkeep/local-port.ts";

const AT = { sandboxId: "s1", containerInterface: "eth0" };
const ROW = { ...AT, hostInterface: "moor1", bridge: "br-int", isFenced: false, externalIds: {} };
const LINK = { ...AT, name: "moor1", up: true };

const merge = (...[plugged, links]: [object[], object[]]) =>
  mergeLocalPorts(plugged as never, links as never, { bridges: [], look: () => "there" }).map(
    ({ hasLink, isFenced, isLinkDown }) => ({ hasLink, isFenced, isLinkDown }),
  );

describe("mergeLocalPorts", () => {
  it("distinguishes a port whose link is down from a fenced one", () => {
    const down = { ...LINK, up: false };
    assert.deepEqual(merge([ROW], [LINK]), [{ hasLink: true, isFenced: false, isLinkDown: undefined }]);
    assert.deepEqual(merge([ROW], [down]), [{ hasLink: true, isFenced: false, isLinkDown: true }]);
    assert.deepEqual(merge([{ ...ROW, isFenced: true }], [down]), [
      { hasLink: true, isFenced: true, isLinkDown: undefined },
    ]);
    assert.deepEqual(merge([ROW], []), [{ hasLink: false, isFenced: false, isLinkDown: undefined }]);
    assert.deepEqual(merge([], [down]), [{ hasLink: true, isFenced: true, isLinkDown: undefined }]);
  });
});
