import { type CommandOptions, type CommandResult, must, run } from "../../../scripts/lab/command.ts";
import { ENVIRONMENT } from "./environment.ts";
import { eventually } from "./eventually.ts";

/** A hand on the nodes themselves, for what happens to machines and not to Kubernetes. */
export function onNode(node: string, argv: readonly string[], options?: CommandOptions): Promise<string> {
  return must([...ENVIRONMENT.nodeExec, node, ...argv], options);
}

export function tryOnNode(node: string, argv: readonly string[], options?: CommandOptions): Promise<CommandResult> {
  return run([...ENVIRONMENT.nodeExec, node, ...argv], options);
}

/** Takes the node off all its networks until the result is disposed of. */
export async function cutOff(node: string): Promise<AsyncDisposable & { mend(): Promise<void> }> {
  await must([...ENVIRONMENT.nodeCut, node]);
  let isCut = true;
  const mend = async () => {
    if (!isCut) return;
    await must([...ENVIRONMENT.nodeMend, node]);
    isCut = false;
  };
  return { mend, [Symbol.asyncDispose]: mend };
}

/** Kills the node's kubelet and container runtime as a crash would; disposing starts them. Containers run on. */
export async function stopKubelet(node: string): Promise<AsyncDisposable> {
  const inNode = await onNode(node, ["readlink", "/proc/self/ns/mnt"]);
  const script = `for p in /proc/[0-9]*; do
    case "$(cat $p/comm 2>/dev/null)" in kubelet | containerd) ;; *) continue ;; esac
    [ "$(readlink $p/ns/mnt)" = "${inNode.trim()}" ] && kill -9 "\${p#/proc/}"
  done; true`;
  await onNode(node, ["sh", "-c", script]);
  return { [Symbol.asyncDispose]: async () => void (await must([...ENVIRONMENT.nodeStart, node])) };
}

/** The OVS interfaces of this sandbox, by name. */
export async function pluggedInterfaces(node: string, sandboxId: string): Promise<string[]> {
  const find = ["--bare", "--columns=name", "find", "Interface", `external_ids:mooring-sandbox=${sandboxId}`];
  return (await onNode(node, ["ovs-vsctl", ...find])).split("\n").filter(name => name !== "");
}

/** All that Mooring has plugged on the node. */
export async function allPlugged(node: string): Promise<string[]> {
  const find = ["--bare", "--columns=name", "find", "Interface", 'external_ids:mooring-port!=""'];
  return (await onNode(node, ["ovs-vsctl", ...find])).split("\n").filter(name => name !== "");
}

/** The plugin's configuration as a runtime passes it, from the list that the agent installed. */
export async function readPluginConf(node: string): Promise<object> {
  const list = JSON.parse(await onNode(node, ["sh", "-c", "cat /etc/cni/net.d/*mooring*.conflist"])) as {
    cniVersion: string;
    name: string;
    plugins: { type: string }[];
  };
  const { cniVersion, name } = list;
  return { cniVersion, name, ...list.plugins.find(({ type }) => type === "mooring") };
}

/** A runtime's DEL of a sandbox that is long gone, as one that retries after an outage sends it. */
export async function replayDel(
  node: string,
  sandboxId: string,
  pod: { namespace: string; name: string; uid: string },
) {
  const args = `IgnoreUnknown=1;K8S_POD_NAMESPACE=${pod.namespace};K8S_POD_NAME=${pod.name};K8S_POD_UID=${pod.uid};K8S_POD_INFRA_CONTAINER_ID=${sandboxId}`;
  const env = {
    CNI_COMMAND: "DEL",
    CNI_CONTAINERID: sandboxId,
    CNI_IFNAME: "eth0",
    CNI_NETNS: "",
    CNI_PATH: "/opt/cni/bin",
    CNI_ARGS: args,
  };
  const assignments = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const input = JSON.stringify(await readPluginConf(node));
  await onNode(node, ["env", ...assignments, "/opt/cni/bin/mooring"], { input });
}

/** What an installation may leave behind: everything in the folders and in OVS that it may touch. */
export async function takeInventory(node: string): Promise<string[]> {
  const folders = ["/opt/cni/bin", "/etc/cni/net.d", "/opt/mooring", "/run/mooring"];
  const found = await tryOnNode(node, ["find", ...folders, "-mindepth", "1"]);
  const bridges = await onNode(node, ["ovs-vsctl", "list-br"]);
  const links = await onNode(node, ["sh", "-c", "ls /sys/class/net 2>/dev/null || ip -br link"]);
  return [found.stdout, bridges, links]
    .flatMap(text => text.split("\n"))
    .filter(line => line !== "")
    .sort();
}

export const unplugged = (node: string, sandboxId: string, deadlineMs?: number) =>
  eventually(
    `sandbox ${sandboxId.slice(0, 12)} to be unplugged on ${node}`,
    async () => (await pluggedInterfaces(node, sandboxId)).length === 0,
    deadlineMs,
  );
