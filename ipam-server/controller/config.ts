import {
  oneOf,
  parseCluster,
  parseDurationMs,
  parseListenAddress,
  parseServer,
  parseText,
} from "../process/option-parsers.ts";
import type { OptionValues } from "../process/options.ts";

/** The options of mooring-controller. */
export const CONTROLLER_OPTIONS = {
  server: {
    about: "the IPAM: http://HOST:PORT or https://HOST:PORT",
    placeholder: "url",
    default: "http://127.0.0.1:7070",
    parse: parseServer,
  },
  cluster: {
    about: "this cluster's name in the IPAM, which no other cluster has; required",
    placeholder: "name",
    parse: parseCluster,
  },
  kubeconfig: {
    about: "how to reach Kubernetes; without it the service account's own way from inside a pod",
    placeholder: "file",
    parse: parseText,
  },
  grace: {
    about: "how long an owner must have looked gone before a fresh look decides",
    placeholder: "duration",
    default: "30s",
    parse: parseDurationMs,
  },
  leaseNamespace: {
    about: "where the replicas' Lease is",
    placeholder: "namespace",
    default: "mooring-system",
    parse: parseText,
  },
  leaseName: { about: "its name", placeholder: "name", default: "mooring-controller", parse: parseText },
  identity: {
    about: "this replica's name in the election; default: the host's",
    placeholder: "name",
    parse: parseText,
  },
  tokenFile: {
    about: "the bearer token for the IPAM, read again as it changes",
    placeholder: "file",
    parse: parseText,
  },
  caFile: { about: "the authority (PEM) that signed the IPAM's certificate", placeholder: "file", parse: parseText },
  healthListen: {
    about: "where to serve /healthz, /readyz and /metrics",
    placeholder: "address",
    default: "127.0.0.1:7072",
    parse: parseListenAddress,
  },
  logLevel: {
    about: "one of fatal, error, warn, info, debug, trace",
    placeholder: "level",
    default: "info",
    parse: oneOf("fatal", "error", "warn", "info", "debug", "trace"),
  },
} as const;

export type ControllerConfig = OptionValues<typeof CONTROLLER_OPTIONS>;
