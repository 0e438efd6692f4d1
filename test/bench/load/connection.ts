import { connect, type Socket } from "node:net";

/** A response as the load generator needs it: was it good, and what did it say if not. */
export interface RawResponse {
  status: number;
  body: Buffer;
}

/**
 * One keep-alive HTTP/1.1 connection, one request at a time, written by hand: a generator that shares the machine with
 * the server must cost next to nothing. Understands only what the IPAM sends: a status line and a Content-Length.
 * A connection that the server closes as a request is written is replaced once, because the calls are idempotent.
 */
export class RawConnection implements AsyncDisposable {
  readonly #host: string;
  readonly #port: number;
  #socket: Socket;
  #request = "";
  #isResent = false;
  #chunks: Buffer[] = [];
  #received = 0;
  #bodyStart = -1;
  #bodyLength = 0;
  #waiting: PromiseWithResolvers<RawResponse> | undefined;

  private constructor(host: string, port: number) {
    this.#host = host;
    this.#port = port;
    this.#socket = this.#connect();
  }

  static async open(host: string, port: number): Promise<RawConnection> {
    const connection = new RawConnection(host, port);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    connection.#socket.once("connect", resolve).once("error", reject);
    await promise;
    return connection;
  }

  post(path: string, body: string): Promise<RawResponse> {
    const host = `${this.#host}:${this.#port}`;
    this.#waiting = Promise.withResolvers();
    this.#request = `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    this.#isResent = this.#socket.destroyed;
    if (this.#isResent) this.#socket = this.#connect();
    this.#socket.write(this.#request, "latin1");
    return this.#waiting.promise;
  }

  #connect(): Socket {
    const socket = connect({ host: this.#host, port: this.#port });
    socket.setNoDelay(true);
    socket.on("data", chunk => this.#onData(chunk));
    socket.on("error", error => this.#onEnd(socket, error));
    socket.on("close", () => this.#onEnd(socket, new Error("the server closed the connection")));
    return socket;
  }

  #onEnd(socket: Socket, error: Error): void {
    socket.destroy();
    if (socket !== this.#socket || this.#waiting === undefined) return;
    if (this.#received > 0 || this.#isResent) {
      this.#fail(error);
      return;
    }
    this.#isResent = true;
    this.#socket = this.#connect();
    this.#socket.write(this.#request, "latin1");
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
