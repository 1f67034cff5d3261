import type {
  EstimateView, JobBody, JobCreated, JobEvent, JobList, JobView, Problem, UploadView,
} from './schema.js'

export * from './schema.js'

/** The API answered with a problem document; `retryAfter` is in milliseconds. */
export class ProblemError extends Error {
  readonly problem: Problem
  readonly retryAfter?: number
}

/**
 * A client of one gateway. Creating requests are repeated under their own idempotency key, so that a
 * lost answer makes no second job. Every call rejects with a `ProblemError` when the API refuses it.
 */
export class ProVideo {
  /** `pause` waits between two tries, for milliseconds. */
  constructor(api: string, options?: {token?: string; pause?: (milliseconds: number) => Promise<void>})

  /** Check a request with its files, and compute its price; nothing is begun. */
  estimate(request: JobBody): Promise<EstimateView>
  /** Begin a job; the same key and request give the same job. */
  create(request: JobBody, options?: {key?: string}): Promise<JobCreated>
  get(jobId: string): Promise<JobView>
  /** A page of your jobs, the latest first. */
  list(options?: {status?: JobView['status']; limit?: number; cursor?: string}): Promise<JobList>
  /** Work that a provider has begun goes on there and is billed. */
  cancel(jobId: string): Promise<JobView>
  /** Only the stage that failed is done again. */
  retry(jobId: string): Promise<JobView>
  /** Use the rejected result as it is. */
  accept(jobId: string): Promise<JobView>
  /** Upload a file in parts; the result's `source` names it in a request. */
  upload(
    file: Blob,
    filename: string,
    options?: {key?: string; onProgress?: (arrived: number, size: number) => void},
  ): Promise<UploadView>
  /** The job as it is, then each change, until it has ended. */
  watch(jobId: string): AsyncGenerator<JobEvent, void>
  /** Wait for the end of a job, whichever it is. */
  wait(jobId: string): Promise<JobView>
}
