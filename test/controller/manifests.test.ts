import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { parseAllDocuments } from "yaml";
import { AGENT_OPTIONS } from "../../cni/agent/config.ts";
import { SERVER_OPTIONS } from "../../ipam-server/config.ts";
import { CONTROLLER_OPTIONS } from "../../ipam-server/controller/config.ts";
import { envOf, flagOf, type OptionSpecs } from "../../ipam-server/process/options.ts";

interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string };
  [key: string]: unknown;
}
interface Container {
  image: string;
  command: string[];
  env?: { name: string; valueFrom?: { configMapKeyRef?: { name: string; key: string } } }[];
  volumeMounts: { name: string }[];
  livenessProbe?: unknown;
  readinessProbe?: unknown;
  resources: { requests?: { cpu?: string; memory?: string } };
}
interface PodSpec {
  serviceAccountName: string;
  containers: Container[];
  volumes?: { name: string }[];
}

const ROOT = join(import.meta.dirname, "../../manifests");
const OVERLAYS = ["base", "overlays/sqlite", "overlays/postgres", "overlays/kind", "overlays/lab"];
const hasKubectl = spawnSync("kubectl", ["version", "--client"]).status === 0;

function render(folder: string): Manifest[] {
  const { status, stdout, stderr } = spawnSync("kubectl", ["kustomize", join(ROOT, folder)], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  return parseAllDocuments(stdout).map(document => document.toJSON());
}

const workloads = (manifests: Manifest[]) =>
  manifests.filter(each => /^(DaemonSet|Deployment|StatefulSet)$/.test(each.kind));
const podSpec = (workload: Manifest) => (workload.spec as { template: { spec: PodSpec } }).template.spec;
const containerOf = (manifests: Manifest[], name: string): Container => {
  const workload = workloads(manifests).find(each => each.metadata.name === name);
  const [container] = workload ? podSpec(workload).containers : [];
  assert.ok(container, name);
  return container;
};

describe("the manifests", { skip: !hasKubectl && "there is no kubectl here" }, () => {
  for (const folder of OVERLAYS) {
    const manifests = hasKubectl ? render(folder) : [];
    const has = (kind: string, name: string) =>
      manifests.some(each => each.kind === kind && each.metadata.name === name);

    it(`${folder}: what is referred to is there`, () => {
      for (const workload of workloads(manifests)) {
        const spec = podSpec(workload);
        assert.ok(has("ServiceAccount", spec.serviceAccountName), spec.serviceAccountName);
        const claims = (workload.spec as { volumeClaimTemplates?: Manifest[] }).volumeClaimTemplates ?? [];
        const volumes = [...(spec.volumes ?? []).map(each => each.name), ...claims.map(each => each.metadata.name)];
        for (const { env = [], volumeMounts } of spec.containers) {
          for (const { name } of volumeMounts) assert.ok(volumes.includes(name), name);
          for (const { valueFrom } of env) {
            const from = valueFrom?.configMapKeyRef;
            if (from === undefined) continue;
            const map = manifests.find(each => each.kind === "ConfigMap" && each.metadata.name === from.name);
            assert.ok(map && from.key in (map.data as object), `${from.name}: ${from.key}`);
          }
        }
      }
    });

    it(`${folder}: every container has probes, resource requests and a versioned image`, () => {
      for (const container of workloads(manifests).flatMap(each => podSpec(each).containers)) {
        assert.ok(container.livenessProbe && container.readinessProbe, container.image);
        assert.ok(container.resources.requests?.cpu && container.resources.requests.memory);
        assert.match(container.image, /:(?!latest)/);
      }
    });

    it(`${folder}: sets only options that the programs accept`, () => {
      const programs: [string, OptionSpecs][] = [
        ["mooring-agent", AGENT_OPTIONS],
        ["mooring-controller", CONTROLLER_OPTIONS],
        ["mooring-ipam", SERVER_OPTIONS],
      ];
      for (const [name, options] of programs) {
        const { command, env = [] } = containerOf(manifests, name);
        const flags = Object.keys(options).map(flagOf);
        const names = Object.keys(options).map(envOf);
        for (const flag of command.filter(word => word.startsWith("--"))) assert.ok(flags.includes(flag), flag);
        // Others are only there to be put together, as $(NAMESPACE).
        const theirs = env.filter(each => each.name.startsWith("MOORING_"));
        for (const each of theirs) assert.ok(names.includes(each.name), each.name);
      }
    });

    it(`${folder}: allows no role more than reads, events, conditions and the one Lease`, () => {
      const roles = manifests.filter(each => each.kind === "Role" || each.kind === "ClusterRole");
      const granted = roles.flatMap(role =>
        (role.rules as { resources: string[]; verbs: string[] }[]).flatMap(({ resources, verbs }) =>
          resources.flatMap(resource => verbs.map(verb => `${verb} ${resource}`)),
        ),
      );
      const changes = granted.filter(each => !/^(get|list|watch) /.test(each)).sort();
      assert.deepEqual(
        [...new Set(changes)],
        ["create events", "create leases", "patch events", "patch pods/status", "update leases"],
      );
      assert.ok(granted.every(each => !/secrets|configmaps|\*/.test(each)));
    });
  }

  it("have no default for the cluster's name, but a line for it", () => {
    for (const folder of ["base", "overlays/sqlite", "overlays/postgres"]) {
      const map = (hasKubectl ? render(folder) : []).find(({ kind }) => kind === "ConfigMap");
      assert.deepEqual((map?.data as Record<string, string> | undefined)?.cluster, "", folder);
      assert.match(readFileSync(join(ROOT, folder, "kustomization.yaml"), "utf8"), /^ +- cluster=$/m, folder);
    }
  });

  it("on PostgreSQL servers are stateless and the URL is in a Secret", () => {
    const manifests = hasKubectl ? render("overlays/postgres") : [];
    const ipam = workloads(manifests).find(({ metadata }) => metadata.name === "mooring-ipam");
    const spec = ipam?.spec as { replicas: number; volumeClaimTemplates?: unknown };
    assert.ok(spec.replicas > 1 && !spec.volumeClaimTemplates);
    const { command, env = [] } = containerOf(manifests, "mooring-ipam");
    assert.ok(!command.includes("--database"));
    assert.deepEqual(env, [
      { name: "MOORING_DATABASE", valueFrom: { secretKeyRef: { name: "mooring-database", key: "url" } } },
    ]);
  });

  it("every overlay uses only APIs that Kubernetes 1.25 and newer serve", () => {
    const supported = ["apps/v1", "policy/v1", "rbac.authorization.k8s.io/v1", "v1"];
    for (const folder of OVERLAYS) {
      const apis = new Set((hasKubectl ? render(folder) : []).map(each => each.apiVersion));
      assert.deepEqual([...apis].sort(), supported, folder);
    }
  });

  it("no overlay uses a kustomize field that is deprecated", () => {
    for (const folder of OVERLAYS) {
      const source = readFileSync(join(ROOT, folder, "kustomization.yaml"), "utf8");
      assert.doesNotMatch(source, /^(bases|patchesStrategicMerge|patchesJson6902|commonLabels|vars):/m, folder);
    }
  });
});
