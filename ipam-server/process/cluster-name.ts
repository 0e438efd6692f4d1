/** The one rule of cluster names, the API's too: other characters would be ambiguous in port names. */
const CLUSTER_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;

export const CLUSTER_NAME_ACCEPTS =
  "a cluster name: 1 to 63 of A-Z a-z 0-9 . _ -, the first and the last a letter or digit";

export function parseClusterName(text: string): string | undefined {
  return CLUSTER_NAME.test(text) ? text : undefined;
}

/** For a program that was started without one: there is no default, because two clusters of one name share their ports. */
export const CLUSTER_NAME_MISSING =
  "give this cluster's name in the IPAM, which no other cluster has: MOORING_CLUSTER, or where the manifests installed it " +
  'the line "cluster=NAME" in the kustomization.yaml of your overlay';
