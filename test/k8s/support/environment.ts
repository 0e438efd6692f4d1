import { join } from "node:path";

const ROOT = join(import.meta.dirname, "../../..");
const { env } = process;

/**
 * Where the suite runs, as scripts/test-e2e says it. Any cluster will do; what needs a hand on the nodes themselves is
 * skipped where there is none.
 */
export const ENVIRONMENT = {
  kubeconfig: env.KUBECONFIG ?? "",
  /** A folder for `kubectl apply -k`. */
  overlay: env.MOORING_E2E_OVERLAY ?? join(ROOT, "manifests/overlays/sqlite"),
  /** Declares networks labelled env=prod, env=test and env=tiny (one address). */
  networks: env.MOORING_E2E_NETWORKS ?? join(ROOT, "test/k8s/networks.yaml"),
  /** Has busybox and /bin/sh. */
  image: env.MOORING_E2E_IMAGE ?? "docker.io/library/busybox:1.36",
  /** The agent's image for an upgrade; without one it is only rolled. */
  nextImage: env.MOORING_E2E_NEXT_IMAGE,
  /** Runs `PREFIX NODE COMMAND...` in a node's own namespaces. */
  nodeExec: words(env.MOORING_E2E_NODE_EXEC),
  /** `PREFIX NODE` takes a node off all its networks, and puts it back. */
  nodeCut: words(env.MOORING_E2E_NODE_CUT),
  nodeMend: words(env.MOORING_E2E_NODE_MEND),
  /** `PREFIX NODE` starts what was stopped of a node: kubelet and runtime. */
  nodeStart: words(env.MOORING_E2E_NODE_START),
} as const;

export const NO_HAND_ON_NODES = ENVIRONMENT.nodeExec.length === 0 && "no command runs on this cluster's nodes";
export const NO_CUTTING = ENVIRONMENT.nodeCut.length === 0 && "no command cuts this cluster's nodes off";
export const NO_STARTING = ENVIRONMENT.nodeStart.length === 0 && "no command starts this cluster's kubelets";

function words(text: string | undefined): string[] {
  return text?.split(" ").filter(word => word !== "") ?? [];
}
