/** Run inside a pod: `serve PORT` echoes; `send HOST PORT BYTES` exits 0 if all bytes come back as they were sent. */
import { connect, createServer } from "node:net";

const [mode, first = "", second = "", third = ""] = process.argv.slice(2);

if (mode === "serve") {
  createServer(socket => socket.pipe(socket)).listen(Number(first), () => console.log("listening"));
} else {
  const sent = Buffer.from(Uint8Array.from({ length: Number(third) }, (_, index) => (index * 31) >> 3));
  const received: Buffer[] = [];
  const socket = connect(Number(second), first, () => socket.end(sent));
  socket.setTimeout(20_000, () => socket.destroy(new Error("no byte for 20 s")));
  for await (const chunk of socket) received.push(chunk as Buffer);
  if (!Buffer.concat(received).equals(sent)) throw new Error("the bytes came back changed");
}
