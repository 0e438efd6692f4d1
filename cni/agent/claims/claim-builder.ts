import type { Claim, Sandbox } from "../../../ipam-server/contract/index.ts";
import { IpamError } from "../../../ipam-server/contract/index.ts";
import { DEFAULT_INTERFACE } from "../../../ipam-server/contract/port.ts";
import { KubeError } from "../../../ipam-server/kube/kube-error.ts";
import { parseCniArgs } from "../../spec/cni-args.ts";
import { CNI_CODES, CniError } from "../../spec/cni-error.ts";
import type { CallFacts } from "../../verbs/backend.ts";
import { deriveClaim as deriveDirectClaim, deriveRequested } from "../../verbs/claim.ts";
import type { AgentConfig } from "../config.ts";
import { findAnnotation } from "../pod/annotations.ts";
import { type ClaimDefaults, deriveClaim } from "../pod/derive-claim.ts";
import { canUseLease } from "../pod/lease-eligible.ts";
import type { Namespace } from "../pod/pod.ts";
import type { NodePod, PodSource } from "../pod/pods.ts";
import { explainNameInUse } from "../pod/rolling-update.ts";

interface ClaimBuilderOptions {
  config: AgentConfig;
  pods: Pick<PodSource, "find" | "namespaceOf">;
  now(): Date;
}

/** The objects a claim was derived from, for error messages. */
interface ClaimSource {
  pod: NodePod;
  namespace: Namespace;
}

/** Derives the claims of this node's pods, by the same rules for the pre-claim and for ADD. */
export class ClaimBuilder {
  readonly #options: ClaimBuilderOptions;
  readonly #sources = new WeakMap<Claim, ClaimSource>();
  #lastAttempt = 0;

  constructor(options: ClaimBuilderOptions) {
    this.#options = options;
  }

  /** Rejects with KubeError if the namespace cannot be read, with IpamError `invalid_request` for invalid annotations. */
  async derivePreclaim(pod: NodePod, ifname = DEFAULT_INTERFACE): Promise<Claim> {
    const namespace = await this.#options.pods.namespaceOf(pod);
    return this.#derive(pod, namespace, this.#defaults(), ifname, undefined);
  }

  /** Derives the claim from the pod in CNI_ARGS, or from the container alone if there is none. */
  async deriveForCall(call: CallFacts): Promise<Claim> {
    const { invocation, config } = call;
    const { podNamespace, podName, podUid } = parseCniArgs(invocation.args);
    const sandbox: Sandbox = { id: invocation.containerId, interface: invocation.ifname };
    const attemptedAt = this.#nextAttempt();
    const defaults = this.#defaults(config);
    if (podNamespace === undefined || podName === undefined) {
      const { nodeName, cluster } = this.#options.config;
      const { availabilityZone, physicalNetworks } = defaults;
      const claim = deriveDirectClaim(call, { host: nodeName, cluster }, this.#options.now());
      return {
        ...claim,
        attemptedAt,
        networkSelector: defaults.networkSelector,
        ...(availabilityZone !== undefined && { availabilityZone }),
        ...(physicalNetworks && { physicalNetworks }),
      };
    }
    const pod = await this.#find(podNamespace, podName, podUid);
    const namespace = await this.#options.pods.namespaceOf(pod);
    const claim = this.#derive(pod, namespace, defaults, invocation.ifname, sandbox);
    const labels = { ...config.labels, ...claim.labels };
    const complete = {
      ...deriveRequested(call),
      ...claim,
      attemptedAt,
      ...(Object.keys(labels).length > 0 && { labels }),
    };
    this.#remember(complete, this.#sources.get(claim));
    return complete;
  }

  /** Returns the error with the annotation that caused it, or what to change, if there is one. */
  explain(error: unknown, claim: Claim): unknown {
    if (!(error instanceof IpamError)) return error;
    const source = this.#sources.get(claim);
    const hint = error.code === "port_in_use" && source ? explainNameInUse(source.pod, claim) : undefined;
    if (hint !== undefined)
      return new IpamError(error.code, `${error.message}; ${hint}`, { ...error.details, cause: error });
    if (error.details.field === undefined) return error;
    const annotation = source && findAnnotation(error.details.field, source.pod, source.namespace);
    if (annotation === undefined) return error;
    return new IpamError(error.code, `${annotation}: ${error.message}`, { ...error.details, cause: error });
  }

  /** True if a claim of this builder may be granted any address. See `canUseLease`. */
  canUseLease(claim: Claim): boolean {
    const source = this.#sources.get(claim);
    return source !== undefined && canUseLease(claim, source.pod);
  }

  /** Ascends from call to call, also when the clock is set back. */
  #nextAttempt(): string {
    this.#lastAttempt = Math.max(this.#options.now().getTime(), this.#lastAttempt + 1);
    return new Date(this.#lastAttempt).toISOString();
  }

  #derive(
    pod: NodePod,
    namespace: Namespace,
    defaults: ClaimDefaults,
    ifname: string,
    sandbox: Sandbox | undefined,
  ): Claim {
    const place = { host: this.#options.config.nodeName, interface: ifname, ...(sandbox && { sandbox }) };
    const claim = deriveClaim(pod, namespace, defaults, place);
    this.#remember(claim, { pod, namespace });
    return claim;
  }

  #remember(claim: Claim, source: ClaimSource | undefined): void {
    if (source !== undefined) this.#sources.set(claim, source);
  }

  async #find(namespace: string, name: string, uid: string | undefined): Promise<NodePod> {
    const of = `pod ${namespace}/${name}${uid === undefined ? "" : ` (${uid})`}`;
    let pod: NodePod | undefined;
    try {
      pod = await this.#options.pods.find(namespace, name, uid);
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      const message = `${of} is not yet listed from Kubernetes and cannot be read: ${error.message}`;
      throw new CniError(CNI_CODES.tryAgain, message, { cause: error });
    }
    if (pod !== undefined) return pod;
    throw new CniError(CNI_CODES.tryAgain, `Kubernetes has no ${of}: it was deleted or is not yet created`);
  }

  /** The call's network configuration takes precedence over the node's. */
  #defaults(conf?: CallFacts["config"]): ClaimDefaults {
    const { cluster, networkSelector, families, retain, availabilityZone, bridgeMappings } = this.#options.config;
    const physicalNetworks = conf?.physicalNetworks ?? bridgeMappings?.map(mapping => mapping.physicalNetwork);
    const zone = conf?.availabilityZone ?? availabilityZone;
    const wanted = conf?.families ?? families;
    const retention = conf?.retention ?? retain;
    return {
      cluster,
      networkSelector: conf?.networkSelector || networkSelector,
      ...(wanted && { families: wanted }),
      ...(retention && { retention }),
      ...(zone !== undefined && { availabilityZone: zone }),
      ...(physicalNetworks && { physicalNetworks }),
    };
  }
}

/** True if two claims request the same port in the same way. Ignores sandbox and attempt, labels and workload. */
export function isSameRequest(a: Claim, b: Claim): boolean {
  const facts = ({ sandbox: _sandbox, attemptedAt: _at, labels: _labels, workload: _workload, ...rest }: Claim) =>
    JSON.stringify(Object.entries(rest).sort(([x], [y]) => (x < y ? -1 : 1)));
  return facts(a) === facts(b);
}
