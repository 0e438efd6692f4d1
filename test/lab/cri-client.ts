import { connect, type IncomingHttpHeaders } from "node:http2";
import { createConnection } from "node:net";
import { decodeMessage, encodeMessage, type Fields } from "./protobuf.ts";

/** Debian has no crictl: the pod sandbox calls of the CRI (runtime.v1, api.proto) as gRPC over the runtime's socket. */
export class CriClient {
  readonly #socketPath: string;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /** Gives the runtime's name and version. */
  async version(): Promise<string> {
    const answer = await this.#call("Version", { 1: "0.1.0" });
    return `${answer.get(2)} ${answer.get(3)}`;
  }

  /** Makes a pod sandbox with its network and gives its id. */
  async runPodSandbox(pod: { name: string; namespace: string; uid: string }): Promise<string> {
    const metadata: Fields = { 1: pod.name, 2: pod.uid, 3: pod.namespace };
    const answer = await this.#call("RunPodSandbox", { 1: { 1: metadata, 2: pod.name, 8: { 1: "" } } });
    return String(answer.get(1));
  }

  /** Takes the sandbox's network down and ends its processes. */
  async stopPodSandbox(id: string): Promise<void> {
    await this.#call("StopPodSandbox", { 1: id });
  }

  async removePodSandbox(id: string): Promise<void> {
    await this.#call("RemovePodSandbox", { 1: id });
  }

  /** The first address the runtime took from the plugin's result. */
  async readPodIp(id: string): Promise<string> {
    const status = decodeMessage((await this.#call("PodSandboxStatus", { 1: id })).get(1) ?? Buffer.alloc(0));
    return String(decodeMessage(status.get(5) ?? Buffer.alloc(0)).get(1));
  }

  #call(method: string, request: Fields): Promise<Map<number, Buffer>> {
    const { promise, resolve, reject } = Promise.withResolvers<Map<number, Buffer>>();
    const session = connect("http://localhost", { createConnection: () => createConnection(this.#socketPath) });
    session.on("error", reject);
    const stream = session.request({
      ":method": "POST",
      ":path": `/runtime.v1.RuntimeService/${method}`,
      "content-type": "application/grpc",
      te: "trailers",
    });
    const chunks: Buffer[] = [];
    let trailers: IncomingHttpHeaders = {};
    // A call that failed at once carries its status in the headers.
    stream.on("response", headers => {
      trailers = headers;
    });
    stream.on("trailers", headers => {
      trailers = headers;
    });
    stream.on("data", chunk => chunks.push(chunk));
    stream.on("error", reject);
    stream.on("close", () => {
      session.destroy();
      const status = trailers["grpc-status"];
      if (status === "0") resolve(decodeMessage(Buffer.concat(chunks).subarray(5)));
      else reject(new Error(`${method}: ${decodeURIComponent(String(trailers["grpc-message"] ?? "no answer"))}`));
    });
    stream.setTimeout(60_000, () => stream.destroy(new Error(`${method}: no answer within 60 s`)));
    const message = encodeMessage(request);
    const head = Buffer.alloc(5);
    head.writeUInt32BE(message.length, 1);
    stream.end(Buffer.concat([head, message]));
    return promise;
  }
}
