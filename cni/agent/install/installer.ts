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
 * Puts the executable onto the node, and the network configuration last of all: it is what makes the runtime call the
 * executable and the kubelet call the node ready. On disposal takes all of it back, if the agent itself is being removed.
 */
export class Installer implements AsyncDisposable {
  readonly #options: InstallerOptions;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  /** The API has once said that the DaemonSet is there: only then does a later refusal mean anything. */
  #wasAnswered = false;

  constructor(options: InstallerOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
    const { context, places } = this.#options;
    const { daemonSet, socket } = context.config;
    if (daemonSet === undefined) return;
    const standing = await readAgentState(context.api, daemonSet);
    const isOver = isUninstalled(standing, this.#wasAnswered);
    context.log.info({ ...standing, uninstalls: isOver }, isOver ? "leaves the node" : "makes room for its successor");
    if (!isOver) return;
    await uninstall(places);
    await rm(socket, { force: true });
    try {
      context.log.info(await context.datapath.removeOwnBridges(), "left the node as it was found");
    } catch (error) {
      context.log.error({ err: error }, "the bridges could not be removed");
    }
  }

  async #run(): Promise<void> {
    const { context, source, places, nodeReady } = this.#options;
    const { config, log } = context;
    await this.#patiently(async () => {
      const version = await installExecutable(source, places);
      log.info({ version }, "installed the executable");
    });
    const ended = new Promise<void>(resolve => this.#stop.signal.addEventListener("abort", () => resolve()));
    await Promise.race([nodeReady, ended]);
    await this.#untilServed();
    await this.#patiently(async () => {
      const { socket, bridge, ovsdb, journalDir } = config;
      const isNew = await installConfiguration(places, { socket, bridge, ovsdb, journalDir });
      if (isNew) log.info({ folder: places.conf }, "installed the network configuration");
    });
    while (!this.#stop.signal.aborted) {
      await this.#patiently(async () => {
        await removeOldVersions(places, Date.now());
        if (config.daemonSet === undefined || this.#wasAnswered) return;
        const { daemonSet } = await readAgentState(context.api, config.daemonSet);
        this.#wasAnswered = daemonSet === "there" || daemonSet === "deleting";
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
  async #patiently(work: () => Promise<void>): Promise<void> {
    const { log, metrics } = this.#options.context;
    while (!this.#stop.signal.aborted) {
      try {
        return await work();
      } catch (error) {
        metrics.failures.inc({ component: "install" });
        log.error({ err: error }, "the installation failed; will be tried again");
        await pause(RETRY_MS, this.#stop.signal);
      }
    }
  }
}

/** Of the agent's own bundle, which is in `lib/` of its build; the image has the runtime beside it. */
export function deriveSource(bundleFolder: string): InstallSource {
  const folder = join(bundleFolder, "..");
  return { folder, node: join(folder, "bin/node") };
}
