import { deriveSource, Installer } from "../install/installer.ts";
import { Fence } from "./fence.ts";
import { LocalChanges } from "./local-changes.ts";
import { MigrationTargets } from "./migration-targets.ts";
import { NodeView } from "./node-view.ts";
import { ReconcileLoop } from "./reconcile-loop.ts";
import { Sweeper } from "./sweeper.ts";
import type { StartUpkeep, UpkeepContext } from "./upkeep-context.ts";

/** The host's path of `installHome`. */
const HOST_HOME = "/opt/mooring";

/** Starts bridges, fencing, sweeps and installation. */
export const startUpkeep: StartUpkeep = async (context: UpkeepContext) => {
  await using stack = new AsyncDisposableStack();
  const view = new NodeView(context.datapath, context.bridges);
  const changes = new LocalChanges(context, view);
  const migrations = new MigrationTargets(context);
  const sweeper = new Sweeper({ context, view, changes, migrations });
  const loop = stack.use(new ReconcileLoop({ context, sweeper }));
  stack.use(migrations.watch(() => loop.request()));
  stack.use(
    new Fence({
      context,
      view,
      changes,
      onEnded: key => sweeper.ended.add(key),
      compare() {
        sweeper.expectRecovery();
        loop.request();
      },
    }),
  );
  const { installBin: bin, installConf: conf, installHome: home } = context.config;
  if (bin !== undefined && conf !== undefined && home !== undefined) {
    const source = deriveSource(import.meta.dirname);
    const places = { bin, conf, home, hostHome: HOST_HOME };
    stack.use(new Installer({ context, source, places, nodeReady: loop.ready }));
  }
  await loop.firstAttempt;
  return stack.move();
};
