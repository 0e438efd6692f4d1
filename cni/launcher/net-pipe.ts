import { connect } from "node:net";
import type { RawPipe } from "./raw-pipe.ts";

/** See `RawPipe.exchange`. */
export const exchange: RawPipe["exchange"] = (path, line, timeoutMs) => {
  const { promise, resolve } = Promise.withResolvers<string>();
  let received = "";
  const socket = connect(path, () => socket.write(line));
  socket.setEncoding("utf8");
  socket.setTimeout(timeoutMs, () => socket.destroy());
  socket.on("data", (chunk: string) => {
    received += chunk;
    if (chunk.includes("\n")) socket.destroy();
  });
  socket.on("error", () => {});
  socket.on("close", () => resolve(received));
  return promise;
};
