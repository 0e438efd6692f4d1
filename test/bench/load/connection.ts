import { connect, type Socket } from "node:net";

/** A response as the load generator needs it: was it good, and what did it say if not. */
export interface RawResponse {
  status: number;
  body: Buffer;
}

/**
 * One keep-alive HTTP/1.1 connection, one request at a time, written by hand: a generator that shares the machine with
 * the server must cost next to nothing. Understands only what the IPAM sends: a status line and a Content-Length.
 */
export class RawConnection implements AsyncDisposable {
  readonly #socket: Socket;
  readonly #host: string;
  #chunks: Buffer[] = [];
  #received = 0;
  #bodyStart = -1;
  #bodyLength = 0;
  #waiting: PromiseWithResolvers<RawResponse> | undefined;

  private constructor(socket: Socket, host: string) {
    this.#socket = socket;
    this.#host = host;
    socket.setNoDelay(true);
    socket.on("data", chunk => this.#onData(chunk));
    socket.on("error", error => this.#fail(error));
    socket.on("close", () => this.#fail(new Error("the server closed the connection")));
  }

  static async open(host: string, port: number): Promise<RawConnection> {
    const socket = connect({ host, port });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    socket.once("connect", resolve).once("error", reject);
    await promise;
    return new RawConnection(socket, `${host}:${port}`);
  }

  post(path: string, body: string): Promise<RawResponse> {
    this.#waiting = Promise.withResolvers();
    this.#socket.write(
      `POST ${path} HTTP/1.1\r\nHost: ${this.#host}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      "latin1",
    );
    return this.#waiting.promise;
  }

  #onData(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#received += chunk.length;
    if (this.#bodyStart < 0) this.#parseHead();
    if (this.#bodyStart >= 0 && this.#received >= this.#bodyStart + this.#bodyLength) this.#finish();
  }

  #parseHead(): void {
    const bytes = Buffer.concat(this.#chunks);
    const end = bytes.indexOf("\r\n\r\n");
    if (end < 0) return;
    const length = /\r\ncontent-length: *(\d+)/i.exec(bytes.toString("latin1", 0, end))?.[1];
    if (length === undefined) {
      this.#fail(new Error("the response has no Content-Length"));
      return;
    }
    this.#chunks = [bytes];
    this.#bodyStart = end + 4;
    this.#bodyLength = Number(length);
  }

  #finish(): void {
    const bytes = this.#chunks.length === 1 && this.#chunks[0] ? this.#chunks[0] : Buffer.concat(this.#chunks);
    const response = { status: Number(bytes.toString("latin1", 9, 12)), body: bytes.subarray(this.#bodyStart) };
    this.#chunks = [];
    this.#received = 0;
    this.#bodyStart = -1;
    this.#waiting?.resolve(response);
    this.#waiting = undefined;
  }

  #fail(error: Error): void {
    this.#waiting?.reject(error);
    this.#waiting = undefined;
    this.#socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#waiting = undefined;
    this.#socket.destroy();
  }
}
