import { existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { must, run, waitFor } from "../../scripts/lab/command.ts";
import type { LabNode } from "../../scripts/lab/node.ts";
import { CriClient } from "./cri-client.ts";
import { PAUSE_IMAGE } from "./pause-image.ts";

/** Where Debian's containernetworking-plugins are; containerd up to 1.7 needs `loopback` in addition. */
const PLUGINS = "/usr/lib/cni";

export interface Containerd extends AsyncDisposable {
  readonly cri: CriClient;
}

/**
 * A containerd of the node's own: in its network namespace, with its own mount and process namespaces and its own /run,
 * so that neither sandboxes nor shims outlive it.
 */
export async function startContainerd(
  node: LabNode,
  options: { dir: string; plugin: string; confList: object; image: string },
): Promise<Containerd> {
  const dir = join(options.dir, `containerd-${node.name}`);
  const at = (name: string) => join(dir, name);
  for (const name of ["run", "bin", "conf", "var-lib-cni"]) mkdirSync(at(name), { recursive: true });
  symlinkSync(options.plugin, join(at("bin"), "mooring"));
  if (existsSync(`${PLUGINS}/loopback`)) symlinkSync(`${PLUGINS}/loopback`, join(at("bin"), "loopback"));
  writeFileSync(join(at("conf"), "10-mooring.conflist"), JSON.stringify(options.confList));
  const socket = at("containerd.sock");
  writeFileSync(at("config.toml"), renderConfig(dir, socket));

  const script = `set -e
mkdir -p /var/lib/cni
mount --bind ${at("run")} /run
mount --bind ${at("var-lib-cni")} /var/lib/cni
mkdir -p /run/netns
containerd --config ${at("config.toml")}`;
  const isolated = [
    "unshare",
    "--mount",
    "--propagation",
    "private",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
  ];
  const child = node.start([...isolated, "sh", "-c", script]);
  const stop = () => node.stop(child, "SIGKILL");
  try {
    const cri = new CriClient(socket);
    await waitFor("containerd to answer", () => cri.version().catch(() => undefined), 30_000);
    await must(["ctr", "--address", socket, "--namespace", "k8s.io", "images", "import", options.image]);
    return { cri, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    const { stdout } = await run(["tail", "-n", "20", node.logPath]);
    throw new Error(`containerd did not start:\n${stdout}`, { cause: error });
  }
}

function renderConfig(dir: string, socket: string): string {
  return `version = 2
root = "${dir}/root"
state = "/run/containerd"
[grpc]
  address = "${socket}"
[plugins."io.containerd.grpc.v1.cri"]
  # Lowering it needs a capability that a container running these tests may lack.
  restrict_oom_score_adj = true
  sandbox_image = "${PAUSE_IMAGE}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${dir}/bin"
    conf_dir = "${dir}/conf"
`;
}
