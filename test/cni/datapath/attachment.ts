import type { Attachment } from "../../../cni/datapath/attachment.ts";
import { type Pod, run } from "./node.ts";

let sandboxes = 0;

/** The n-th address of the tests' subnets, as a dual-stack attachment of `pod`; `changes` overrides what a test is about. */
export function attach(pod: Pod, n: number, changes: Partial<Attachment> = {}): Attachment {
  return {
    netns: pod.netns,
    sandboxId: `sandbox-${++sandboxes}`,
    containerInterface: "eth0",
    bridge: "br-int",
    vlan: 100,
    mac: `0a:58:0a:64:01:${n.toString(16).padStart(2, "0")}`,
    mtu: 1500,
    addresses: [ipv4(n), ipv6(n)],
    routes: [
      { dst: "0.0.0.0/0", gw: "10.100.0.1" },
      { dst: "::/0", gw: "fd00:100::ffff" },
    ],
    externalIds: { "mooring-port": `port-${n}`, "mooring-epoch": "1" },
    ...changes,
  };
}

export const ipv4 = (n: number) => ({ address: `10.100.1.${n}`, prefixLength: 16 });
export const ipv6 = (n: number) => ({ address: `fd00:100::${n.toString(16)}`, prefixLength: 64 });

/** Names of the node's own pod links. */
export function hostLinks(): string[] {
  return (JSON.parse(run("ip", "-j", "link")) as { ifname: string }[])
    .map(link => link.ifname)
    .filter(name => name.startsWith("moor"));
}
