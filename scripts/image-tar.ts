import { createHash } from "node:crypto";

export interface TarEntry {
  /** Relative, without a leading slash; folders without a trailing one. */
  path: string;
  type: "file" | "directory";
  mode: number;
  content?: Buffer;
}

const BLOCK = 512;

/** A reproducible ustar archive: owner 0, time 0, sorted by path. */
export function packTar(entries: readonly TarEntry[]): Buffer {
  const sorted = [...entries].sort((a, b) => (a.path < b.path ? -1 : 1));
  const blocks = sorted.flatMap(entry => {
    const content = entry.content ?? Buffer.alloc(0);
    return [header(entry, content.length), content, Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK)]);
}

function header({ path, type, mode }: TarEntry, size: number): Buffer {
  const name = type === "directory" ? `${path}/` : path;
  if (Buffer.byteLength(name) > 100) throw new Error(`the path is too long for the archive: ${name}`);
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, offset: number, length: number) =>
    block.write(`${value.toString(8).padStart(length - 1, "0")}\0`, offset, "latin1");
  block.write(name, 0);
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(0, 136, 12);
  block.write("        ", 148);
  block.write(type === "directory" ? "5" : "0", 156);
  block.write("ustar\0" + "00", 257, "latin1");
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}

export interface ImageSpec {
  tag: string;
  /** As Go names it: `amd64`, `arm64`. */
  architecture: string;
  config: Record<string, unknown>;
}

/** An archive of one image of one layer, as `docker load` and `ctr image import` take it. */
export function packImage({ tag, architecture, config }: ImageSpec, layer: Buffer): Buffer {
  const layerId = sha256(layer);
  const imageConfig = Buffer.from(
    JSON.stringify({
      architecture,
      os: "linux",
      created: "1970-01-01T00:00:00Z",
      config,
      rootfs: { type: "layers", diff_ids: [`sha256:${layerId}`] },
    }),
  );
  const configName = `${sha256(imageConfig)}.json`;
  const layerName = `${layerId}/layer.tar`;
  const manifest = Buffer.from(JSON.stringify([{ Config: configName, RepoTags: [tag], Layers: [layerName] }]));
  const file = (path: string, content: Buffer): TarEntry => ({ path, type: "file", mode: 0o644, content });
  return packTar([
    { path: layerId, type: "directory", mode: 0o755 },
    file(layerName, layer),
    file(configName, imageConfig),
    file("manifest.json", manifest),
  ]);
}

function sha256(data: Buffer): string {
  return createHash("sha256").update(data).digest("hex");
}
