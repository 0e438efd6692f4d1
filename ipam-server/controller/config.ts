import {
  oneOf,
  parseCluster,
  parseDurationMs,
  parseListenAddress,
  parseServer,
  parseText,
} from "../process/option-parsers.ts";

/** The options of mooring-controller. */
export const CONTROLLER_OPTIONS = {
  server: {
    about: "URL of the IPAM: http://HOST:PORT or https://HOST:PORT",
    placeholder: "url",
    default: "http://127.0.0.1:7070",
    parse: parseServer,
  },
  cluster: {
    about: "this cluster's unique name in the IPAM; required",
    placeholder: "name",
    parse: parseCluster,
  },
  kubeconfig: {
    about: "kubeconfig file; default: the pod's service account",
    placeholder: "file",
    parse: parseText,
  },
  grace: {
    about: "how long an owner must appear gone before a fresh read decides",
    placeholder: "duration",
    default: "30s",
    parse: parseDurationMs,
  },
  leaseNamespace: {
    about: "namespace of the Lease that elects the leader",
    placeholder: "namespace",
    default: "mooring-system",
    parse: parseText,
  },
  leaseName: {
    about: "name of the Lease that elects the leader",
    placeholder: "name",
    default: "mooring-controller",
    parse: parseText,
  },
  identity: {
    about: "this replica's name in the election; default: the host name",
    placeholder: "name",
    parse: parseText,
  },
  tokenFile: {
    about: "file with the bearer token for the IPAM; read again when it changes",
    placeholder: "file",
    parse: parseText,
  },
  caFile: {
    about: "file with the CA certificates (PEM) that signed the IPAM's certificate",
    placeholder: "file",
    parse: parseText,
  },
  healthListen: {
    about: "address of /healthz, /readyz and /metrics",
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
