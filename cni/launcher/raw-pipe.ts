/**
 * A unix socket through the handle that `node:net` itself stands on. Why: the executable is started for every call, and
 * loading `node:net` with the streams below it takes 4 to 5 ms of each start (whole processes, alternating: 24 ms this way,
 * 28 ms with `node:net`, 23 ms for a Node that does nothing), so some 9 ms of a pod's ADD and DEL. The runtime it runs on is
 * the one that is installed beside it. Where the handle is not as expected, `openRawPipe` gives nothing, and `node:net` does
 * the work.
 */
export interface RawPipe {
  /** Sends the line and resolves with what came until the first end of line, the end, or an error: "" where nothing came. */
  exchange(path: string, line: string, timeoutMs: number): Promise<string>;
}

/** `process.binding`: internal, deprecated for applications, and in every Node since the first. */
export type Binding = (name: "pipe_wrap" | "stream_wrap") => unknown;

interface PipeHandle {
  onread?: (bytes: ArrayBuffer | undefined) => void;
  connect(request: { oncomplete?: (status: number) => void }, path: string): number;
  readStart(): number;
  writeUtf8String(request: object, text: string): number;
  close(): void;
}
interface PipeWrap {
  Pipe: new (type: number) => PipeHandle;
  PipeConnectWrap: new () => { oncomplete?: (status: number) => void };
  constants: { SOCKET: number };
}
interface StreamWrap {
  WriteWrap: new () => { oncomplete?: () => void };
  streamBaseState: ArrayLike<number>;
  kReadBytesOrError: number;
  kArrayBufferOffset: number;
}

export function openRawPipe(binding: Binding | undefined): RawPipe | undefined {
  try {
    const pipes = binding?.("pipe_wrap") as PipeWrap | undefined;
    const streams = binding?.("stream_wrap") as StreamWrap | undefined;
    if (pipes === undefined || streams === undefined) return undefined;
    const isKnown =
      typeof pipes.Pipe === "function" &&
      typeof pipes.PipeConnectWrap === "function" &&
      typeof pipes.constants?.SOCKET === "number" &&
      typeof streams.WriteWrap === "function" &&
      typeof streams.kReadBytesOrError === "number" &&
      typeof streams.kArrayBufferOffset === "number" &&
      streams.streamBaseState !== undefined;
    return isKnown ? { exchange: (...args) => exchange(pipes, streams, ...args) } : undefined;
  } catch {
    return undefined;
  }
}

function exchange(
  pipes: PipeWrap,
  streams: StreamWrap,
  path: string,
  line: string,
  timeoutMs: number,
): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const { streamBaseState, kReadBytesOrError, kArrayBufferOffset, WriteWrap } = streams;
  const handle = new pipes.Pipe(pipes.constants.SOCKET);
  const chunks: Buffer[] = [];
  let isOver = false;
  const finish = () => {
    if (isOver) return;
    isOver = true;
    clearTimeout(timer);
    handle.close();
    resolve(Buffer.concat(chunks).toString("utf8"));
  };
  const timer = setTimeout(finish, timeoutMs);
  handle.onread = bytes => {
    const count = streamBaseState[kReadBytesOrError] ?? 0;
    if (bytes === undefined || count <= 0) return finish();
    // Copied: the memory is the handle's to use again.
    const chunk = Buffer.from(Buffer.from(bytes, streamBaseState[kArrayBufferOffset] ?? 0, count));
    chunks.push(chunk);
    if (chunk.includes(0x0a)) finish();
  };
  const request = new pipes.PipeConnectWrap();
  request.oncomplete = status => {
    if (isOver) return;
    if (status !== 0) return finish();
    handle.readStart();
    const writing = new WriteWrap();
    writing.oncomplete = () => {};
    if (handle.writeUtf8String(writing, line) !== 0) finish();
  };
  try {
    if (handle.connect(request, path) !== 0) finish();
  } catch {
    finish();
  }
  return promise;
}
