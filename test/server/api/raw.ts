import { once } from "node:events";
import { connect, type Socket } from "node:net";

/** A bare connection, to send what no HTTP client would. */
export async function openRaw(port: number): Promise<Socket> {
  const socket = connect({ host: "127.0.0.1", port });
  await once(socket, "connect");
  return socket;
}

/** Everything the server says until it closes or, with keep-alive, until the text matches. */
export async function readUntil(socket: Socket, done: RegExp, timeoutMs = 20_000): Promise<string> {
  let text = "";
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const late = setTimeout(() => reject(new Error(`no end in: ${text.slice(0, 500)}`)), timeoutMs);
  socket.on("data", chunk => {
    text += chunk;
    if (done.test(text)) resolve(text);
  });
  socket.on("error", () => undefined);
  socket.on("close", () => resolve(text));
  try {
    return await promise;
  } finally {
    clearTimeout(late);
  }
}

/** Sends bytes and returns the complete answer. */
export async function exchange(port: number, bytes: string | Buffer): Promise<string> {
  const socket = await openRaw(port);
  socket.write(bytes);
  try {
    return await readUntil(socket, /\r\n\r\n[\s\S]*[}\n]$/);
  } finally {
    socket.destroy();
  }
}
