import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { must, run } from "../../../scripts/lab/command.ts";

const ROOT = join(import.meta.dirname, "../../..");
const NODES = ["node1", "node2"];
/** The first time it builds Kubernetes. */
const UP_TIMEOUT_MS = 30 * 60_000;
const CTR = ["ctr", "--address", "/run/containerd/containerd.sock", "--namespace", "k8s.io"];
/** From containernetworking-plugins: containerd calls it for every pod, unless `use_internal_loopback` is set. */
const LOOPBACK = "/usr/lib/cni/loopback";

/** Brings the lab up with Mooring's image on its nodes; gives what the tests' environment needs. */
export async function openLab(
  script: string,
  keep: boolean,
  stack: AsyncDisposableStack,
): Promise<Record<string, string>> {
  const given = process.env.LAB_DIR;
  const dir = given ?? mkdtempSync(join(tmpdir(), "mooring-e2e-"));
  const env = { ...process.env, LAB_DIR: dir, LAB_NODES: String(NODES.length) } as Record<string, string>;
  const lab = (...args: string[]) => must([script, ...args], { env, timeoutMs: UP_TIMEOUT_MS });
  await expectNoOther(dir);
  if (given === undefined && !keep) {
    stack.defer(async () => {
      const inside = processesOfNodes(dir);
      await lab("down");
      for (const pid of inside) endProcess(pid);
    });
  } else console.log(`The lab stays: LAB_DIR=${dir} KUBECONFIG=${dir}/admin.kubeconfig`);

  console.log("Bringing the lab up (minutes the first time) ...");
  await lab("up");
  for (const node of NODES) {
    await lab("exec", node, "cp", LOOPBACK, "/opt/cni/bin/");
    await separateLogs(node, join(dir, `logs-${node}`), lab);
  }
  const archive = join(dir, "mooring-image.tar");
  await must([join(ROOT, "scripts/image"), "--tag", "lab/mooring:1", "--out", archive], { timeoutMs: 300_000 });
  await lab("images", archive);
  for (const node of NODES) {
    await lab("exec", node, ...CTR, "image", "tag", "--force", "docker.io/lab/mooring:1", "docker.io/lab/mooring:2");
  }
  return {
    LAB_DIR: dir,
    LAB_NODES: env.LAB_NODES ?? "",
    KUBECONFIG: join(dir, "admin.kubeconfig"),
    MOORING_E2E_OVERLAY: join(ROOT, "manifests/overlays/lab"),
    MOORING_E2E_IMAGE: "docker.io/lab/busybox:1",
    MOORING_E2E_NEXT_IMAGE: "lab/mooring:2",
    MOORING_E2E_NODE_EXEC: `${script} exec`,
    MOORING_E2E_NODE_CUT: `${script} cut`,
    MOORING_E2E_NODE_MEND: `${script} mend`,
    // Starts the node's processes that do not run.
    MOORING_E2E_NODE_START: `${script} up`,
  };
}

/** The nodes share the machine's /var/log, and each kubelet clears away the logs of pods that are not its own. */
async function separateLogs(node: string, folder: string, lab: (...args: string[]) => Promise<string>): Promise<void> {
  mkdirSync(folder, { recursive: true });
  mkdirSync("/var/log/pods", { recursive: true });
  const mounts = await lab("exec", node, "cat", "/proc/self/mounts");
  if (!mounts.includes(" /var/log/pods ")) await lab("exec", node, "mount", "--bind", folder, "/var/log/pods");
}

/** The lab's devices have fixed names: a machine takes one lab at a time. */
async function expectNoOther(dir: string): Promise<void> {
  const listed = await must(["ip", "-o", "link"]);
  const links: string[] = listed.match(/\bkl-[a-z]*\d*(?=[@:])/g) ?? [];
  if (links.includes("kl-mgmt")) {
    if (existsSync(join(dir, "admin.kubeconfig"))) return;
    throw new Error("another lab is up on this machine (there is a bridge kl-mgmt): take it down, or give its LAB_DIR");
  }
  // A lab that ended badly leaves half a cable now and then, which the next would trip over.
  for (const link of links) await run(["ip", "link", "delete", link]);
}

/** What runs in the nodes and below: shims outlive their containerd. */
function processesOfNodes(dir: string): number[] {
  const namespaceOf = (pid: number) => {
    try {
      return readlinkSync(`/proc/${pid}/ns/mnt`);
    } catch {
      return undefined;
    }
  };
  const roots = NODES.map(node => join(dir, `${node}.pid`)).filter(existsSync);
  const namespaces = new Set(roots.map(file => namespaceOf(Number(readFileSync(file, "utf8")))));
  namespaces.delete(namespaceOf(process.pid));
  namespaces.delete(undefined);
  const all = readdirSync("/proc")
    .filter(name => /^\d+$/.test(name))
    .map(Number);
  const found = new Set(all.filter(pid => namespaces.has(namespaceOf(pid))));
  for (let size = -1; size !== found.size; ) {
    size = found.size;
    for (const pid of all) if (found.has(parentOf(pid))) found.add(pid);
  }
  return [...found];
}

function parentOf(pid: number): number {
  try {
    return Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
  } catch {
    return 0;
  }
}

function endProcess(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}
