import { KubeConfig } from "@kubernetes/client-node";

/** Reads the kubeconfig file; undefined: the service account of the pod this process runs in. */
export function loadKubeConfig(path: string | undefined): KubeConfig {
  const config = new KubeConfig();
  if (path === undefined) config.loadFromCluster();
  else config.loadFromFile(path);
  return config;
}
