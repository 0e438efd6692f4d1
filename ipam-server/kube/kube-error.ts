/** An answer of the Kubernetes API that is not the one asked for, or none at all (`status` 0). */
export class KubeError extends Error {
  override readonly name = "KubeError";
  /** HTTP status; 0 when there was no answer. */
  readonly status: number;

  constructor(status: number, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.status = status;
  }

  static from(error: unknown): KubeError {
    if (error instanceof KubeError) return error;
    return new KubeError(0, error instanceof Error ? error.message : String(error), { cause: error });
  }
}
