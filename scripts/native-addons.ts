import { copyFileSync } from "node:fs";
import { join } from "node:path";
import type { Plugin } from "esbuild";

interface Addon {
  file: string;
  source: string;
  /** The module that stands for the package, given the code that requires the binary. */
  code: (required: string) => string;
}

/**
 * Native addons are found by search at run time, which needs node_modules. Here each is copied for this platform and
 * required by its fixed place.
 *
 * @param root the checkout, whose node_modules hold the addons
 * @param lib where the addons go
 * @param prefix the way from the bundle to them
 */
export function copyNativeAddons(root: string, lib: string, prefix: string): Plugin {
  const platform = `${process.platform}-${process.arch}`;
  const modules = join(root, "node_modules");
  const addons: Record<string, Addon> = {
    // Its JavaScript only looks for the binary and wraps deprecated names.
    koffi: {
      file: "koffi.node",
      source: join(modules, `@koromix/koffi-${platform}/${platform.replace("-", "_")}/koffi.node`),
      code: required => `module.exports = ${required};`,
    },
    // Only the netlink package calls it.
    "node-gyp-build": {
      file: "netlink.node",
      source: join(modules, `netlink/prebuilds/${platform}/node.napi.node`),
      code: required => `module.exports = () => ${required};`,
    },
  };
  return {
    name: "native-addons",
    setup(builder) {
      builder.onResolve({ filter: /^(koffi|node-gyp-build)$/ }, ({ path }) => ({ path, namespace: "native-addon" }));
      builder.onLoad({ filter: /.*/, namespace: "native-addon" }, ({ path }) => {
        const addon = addons[path];
        if (addon === undefined) throw new Error(`no native addon is known for ${path}`);
        copyFileSync(addon.source, join(lib, addon.file));
        return { contents: addon.code(`require("${prefix}${addon.file}")`), loader: "js" };
      });
      // Its entry for one platform requires the binary by a fixed path.
      builder.onResolve({ filter: /^better-sqlite3$/ }, () => ({
        path: join(modules, `better-sqlite3/lib/${platform}.js`),
      }));
      builder.onResolve({ filter: /\.node$/ }, ({ path, resolveDir, namespace }) => {
        if (namespace !== "native-addon") {
          copyFileSync(join(resolveDir, path), join(lib, "better-sqlite3.node"));
          return { path: `${prefix}better-sqlite3.node`, external: true };
        }
        return { path, external: true };
      });
    },
  };
}
