import { ENVIRONMENT } from "./environment.ts";

export interface PodOptions {
  app: string;
  annotations?: Record<string, string>;
  /** Past the scheduler, onto this node. */
  nodeName?: string;
  /** The container's environment; a change of it rolls the workload. */
  version?: string;
}

const KEEPS_RUNNING = "trap exit TERM; while :; do sleep 3600 & wait $!; done";
/** Answers with its own UID, which shows which pod answered. */
const SERVE = `busybox mkdir -p /tmp/www; echo $POD_UID >/tmp/www/id; echo $VERSION >/tmp/www/version
httpd -p 8080 -h /tmp/www; ${KEEPS_RUNNING}`;

const uid = { name: "POD_UID", valueFrom: { fieldRef: { fieldPath: "metadata.uid" } } };
/** The kubelet's own way to a pod: through the network the pod is on. */
const probe = { httpGet: { path: "/id", port: 8080 }, periodSeconds: 2, timeoutSeconds: 5, failureThreshold: 5 };

/** A web server on port 8080, probed for life and readiness. */
export function webPod({ app, annotations = {}, nodeName, version = "1" }: PodOptions) {
  return {
    metadata: { labels: { app }, annotations },
    spec: {
      terminationGracePeriodSeconds: 2,
      // Failing nodes are the tests' own business.
      tolerations: [{ operator: "Exists", key: "node.kubernetes.io/unreachable", effect: "NoExecute" }],
      ...(nodeName !== undefined && { nodeName }),
      containers: [
        {
          name: "web",
          image: ENVIRONMENT.image,
          imagePullPolicy: "IfNotPresent",
          command: ["/bin/sh", "-c", SERVE],
          env: [uid, { name: "VERSION", value: version }],
          livenessProbe: probe,
          readinessProbe: { ...probe, periodSeconds: 1 },
        },
      ],
    },
  };
}

/** A pod that only waits, to ask others from or to be many of. */
export function idlePod({ app, annotations = {}, nodeName }: PodOptions) {
  const { metadata, spec } = webPod({ app, annotations, ...(nodeName !== undefined && { nodeName }) });
  const container = { name: "idle", image: ENVIRONMENT.image, imagePullPolicy: "IfNotPresent" };
  const command = ["/bin/sh", "-c", KEEPS_RUNNING];
  return { metadata, spec: { ...spec, containers: [{ ...container, command }] } };
}

type Template = ReturnType<typeof webPod> | ReturnType<typeof idlePod>;

export function pod(namespace: string, name: string, { metadata, spec }: Template) {
  return { apiVersion: "v1", kind: "Pod", metadata: { ...metadata, namespace, name }, spec };
}

export function statefulSet(namespace: string, name: string, replicas: number, template: Template, more = {}) {
  const selector = { matchLabels: template.metadata.labels };
  const spec = { replicas, serviceName: name, podManagementPolicy: "Parallel", selector, template, ...more };
  return { apiVersion: "apps/v1", kind: "StatefulSet", metadata: { namespace, name }, spec };
}

export function deployment(namespace: string, name: string, replicas: number, template: Template, more = {}) {
  const selector = { matchLabels: template.metadata.labels };
  const spec = { replicas, selector, template, ...more };
  return { apiVersion: "apps/v1", kind: "Deployment", metadata: { namespace, name }, spec };
}
