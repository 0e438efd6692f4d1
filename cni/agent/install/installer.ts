import { rm } from "node:fs/promises";
import { join } from "node:path";
import { pause } from "../../../ipam-server/process/background-loop.ts";
import { forwardCall } from "../../launcher/forward-call.ts";
import type { UpkeepContext } from "../upkeep/upkeep-context.ts";
import {
  type InstallPlaces,
  type InstallSource,
  installConfiguration,
  installExecutable,
  removeOldVersions,
  uninstall,
} from "./install.ts";
import { OwnNamespace } from "./own-namespace.ts";
import { isUninstalled, readAgentState } from "./uninstalled.ts";

export interface InstallerOptions {
  context: Pick<UpkeepContext, "config" | "api" | "datapath" | "log" | "metrics">;
  source: InstallSource;
  places: InstallPlaces;
  /** Resolves when the node can take pods. */
  nodeReady: Promise<void>;
}

const RETRY_MS = 5000;
const SOCKET_RETRY_MS = 50;
const TIDY_MS = 10 * 60_000;

/**
 * Installs the executable, and the network configuration last, because with it the runtime calls the executable and the node
 * becomes Ready. Removes everything on disposal if the agent is being uninstalled.
 */
export class Installer implements AsyncDisposable {
  readonly #options: InstallerOptions;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  readonly #namespace: OwnNamespace | undefined;
  /** True once the API has returned the DaemonSet. See `isUninstalled`. */
  #wasThere = false;

  constructor(options: InstallerOptions) {
    this.#options = options;
    const { config, api, log } = options.context;
    if (config.daemonSet !== undefined) {
      const onError = ({ message }: Error) => log.warn({ component: "install", reason: message }, "failed, retrying");
      this.#namespace = new OwnNamespace({ api, name: config.daemonSet.namespace, onError });
    }
    this.#running = this.#run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
    const { context, places } = this.#options;
    const { daemonSet, socket } = context.config;
    if (daemonSet === undefined) return;
    const state = await readAgentState(context.api, daemonSet, this.#namespace);
    await this.#namespace?.[Symbol.asyncDispose]();
    const isOver = isUninstalled(state, this.#wasThere);
    const kept = state.daemonSet === "there" ? "upgrade detected" : "not known to be uninstalled";
    context.log.info(
      { ...state, uninstalls: isOver },
      isOver ? "agent uninstalled, removing the installation" : `${kept}, keeping installation`,
    );
    if (!isOver) return;
    await uninstall(places);
    await rm(socket, { force: true });
    try {
      context.log.info(await context.datapath.removeOwnBridges(), "removed the installation");
    } catch (error) {
      context.log.error({ err: error }, "cannot remove the bridges");
    }
  }

  async #run(): Promise<void> {
    const { context, source, places, nodeReady } = this.#options;
    const { config, log } = context;
    await this.#retry(async () => {
      const version = await installExecutable(source, places);
      log.info({ version }, "installed the executable");
    });
    const ended = new Promise<void>(resolve => this.#stop.signal.addEventListener("abort", () => resolve()));
    await Promise.race([nodeReady, ended]);
    await this.#untilServed();
    await this.#retry(async () => {
      const { socket, bridge, ovsdb, journalDir } = config;
      const isNew = await installConfiguration(places, { socket, bridge, ovsdb, journalDir });
      if (isNew) log.info({ folder: places.conf }, "installed the network configuration");
    });
    while (!this.#stop.signal.aborted) {
      await this.#retry(async () => {
        await removeOldVersions(places, Date.now());
        if (config.daemonSet === undefined || this.#wasThere) return;
        const { daemonSet } = await readAgentState(context.api, config.daemonSet);
        this.#wasThere = daemonSet === "there" || daemonSet === "deleting";
      });
      await pause(TIDY_MS, this.#stop.signal);
    }
  }

  async #untilServed(): Promise<void> {
    const version = { env: { CNI_COMMAND: "VERSION" }, stdin: '{"cniVersion":"1.0.0"}' };
    while (!this.#stop.signal.aborted) {
      if ((await forwardCall(this.#options.context.config.socket, version)) !== undefined) return;
      await pause(SOCKET_RETRY_MS, this.#stop.signal);
    }
  }

  /** Until it succeeds or the installer is disposed of. */
  async #retry(work: () => Promise<void>): Promise<void> {
    const { log, metrics } = this.#options.context;
    while (!this.#stop.signal.aborted) {
      try {
        return await work();
      } catch (error) {
        metrics.failures.inc({ component: "install" });
        log.error({ err: error }, "installation failed, retrying");
        await pause(RETRY_MS, this.#stop.signal);
      }
    }
  }
}

/** Returns the build that contains the agent's bundle in `lib/` and its runtime in `bin/`. */
export function deriveSource(bundleFolder: string): InstallSource {
  const folder = join(bundleFolder, "..");
  return { folder, node: join(folder, "bin/node") };
}
