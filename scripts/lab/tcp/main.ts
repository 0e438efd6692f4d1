import { createConnection, createServer } from "node:net";

/**
 * A TCP peer to run inside a namespace. `listen PORT` echoes all it gets and prints "listening"; `send HOST PORT BYTES`
 * sends that much, expects the same back and prints "same". More than one segment each way, so that a wrong checksum or
 * MTU stalls it although ping works.
 */
const [verb, ...args] = process.argv.slice(2);
if (verb === "listen") {
  const server = createServer(socket => {
    socket.on("error", () => {});
    socket.pipe(socket);
  });
  server.listen(Number(args[0]), "::", () => console.log("listening"));
} else {
  const [host = "", port, bytes] = args;
  const sent = Buffer.alloc(Number(bytes), "drift ");
  const chunks: Buffer[] = [];
  const socket = createConnection({ host, port: Number(port) }, () => socket.end(sent));
  socket.setTimeout(10_000, () => socket.destroy(new Error("no data for 10 s")));
  socket.on("data", chunk => chunks.push(chunk));
  socket.on("end", () => console.log(Buffer.concat(chunks).equals(sent) ? "same" : "not the same"));
  socket.on("error", error => {
    console.error(error.message);
    process.exitCode = 1;
  });
}
