import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Deadline } from "../../../cni/datapath/deadline.ts";
import { fetchLink } from "../../../cni/datapath/netlink/link.ts";
import { RouteSocket } from "../../../cni/datapath/netlink/socket.ts";

describe("the rtnetlink socket", () => {
  it("answers any number of concurrent requests", async () => {
    await using socket = await RouteSocket.open();
    const names = Array.from({ length: 1000 }, (_, index) => (index % 10 === 0 ? `not-there-${index}` : "lo"));
    const links = await Promise.all(names.map(name => fetchLink(socket, name, new Deadline(10_000))));
    assert.deepEqual(
      links.map(link => link?.name),
      names.map(name => (name === "lo" ? "lo" : undefined)),
    );
  });
});
