// A client of the HTTP API for browsers and Node; client.d.ts has its types.

const AT_ONCE = 3
const PAUSES = [500, 1000, 2000]
const LONGEST_PAUSE = 30_000
const BETWEEN_LOOKS = 2000

export class ProblemError extends Error {
  constructor(problem, retryAfter) {
    super(`${problem.status} ${problem.code}: ${problem.detail}`)
    this.name = 'ProblemError'
    this.problem = problem
    this.retryAfter = retryAfter
  }
}

export class ProVideo {
  #api
  #headers
  #pause

  constructor(api, {token, pause = milliseconds => new Promise(done => setTimeout(done, milliseconds))} = {}) {
    this.#api = api.replace(/\/+$/, '')
    this.#headers = token ? {Authorization: `Bearer ${token}`} : {}
    this.#pause = pause
  }

  estimate(request) {
    return this.#call('POST', '/api/v1/estimates', {body: request})
  }

  create(request, {key = crypto.randomUUID()} = {}) {
    return this.#call('POST', '/api/v1/jobs', {body: request, key})
  }

  get(jobId) {
    return this.#call('GET', path(jobId))
  }

  list({status, limit, cursor} = {}) {
    const given = Object.entries({status, limit, cursor}).filter(([, value]) => value != null)
    return this.#call('GET', `/api/v1/jobs?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`)
  }

  cancel(jobId) {
    return this.#call('POST', `${path(jobId)}/cancel`)
  }

  retry(jobId) {
    return this.#call('POST', `${path(jobId)}/retry`, {again: false})
  }

  accept(jobId) {
    return this.#call('POST', `${path(jobId)}/accept`)
  }

  async upload(file, filename, {key = crypto.randomUUID(), onProgress = () => {}} = {}) {
    let upload = await this.#call('POST', '/api/v1/uploads', {body: {filename, size: file.size}, key})
    for (const pause of [...PAUSES, null]) {
      if (upload.status === 'complete') break
      const parts = [...upload.parts]
      let missing = parts.reduce((sum, part) => sum + part.size, 0)
      onProgress(file.size - missing, file.size)
      const send = async () => {
        for (let part = parts.shift(); part; part = parts.shift()) {
          const start = (part.number - 1) * upload.part_size
          const body = file.slice(start, start + part.size)
          // The links are signed; the token is for the API alone.
          const sent = await fetch(part.url, {method: 'PUT', body}).catch(() => null)
          if (sent?.ok) onProgress(file.size - (missing -= part.size), file.size)
        }
      }
      await Promise.all(Array.from({length: AT_ONCE}, send))
      if (missing === 0) {
        upload = await this.#call('POST', upload.complete_url)
        break
      }
      if (pause === null) throw new Error(`The storage does not take all parts of ${filename}.`)
      await this.#pause(pause)
      upload = await this.#call('GET', upload.abort_url)
    }
    onProgress(file.size, file.size)
    return upload
  }

  async *watch(jobId) {
    let last = null
    let shown = null
    for (;;) {
      try {
        const headers = {...this.#headers, ...(last && {'Last-Event-ID': last})}
        const answer = await fetch(`${this.#api}${path(jobId)}/events`, {headers})
        if (!answer.ok) throw await problemOf(answer)
        for await (const {id, event} of events(answer.body)) {
          last = id
          shown = JSON.stringify([event.status, event.stage, event.progress, event.message])
          yield event
          if (event.status !== 'processing') return
        }
      } catch (error) {
        if (!mayPass(error)) throw error
      }
      // A stream that cannot be had, or broke: the status tells the same.
      const job = await this.get(jobId)
      const state = JSON.stringify([job.status, job.stage, job.progress, job.message])
      if (state !== shown) {
        shown = state
        const {job_id, status, stage, progress, message, warnings, rejected_key, fallback_key} = job
        const timestamp = job.completed_at ?? job.created_at
        yield {job_id, status, stage, progress, message, warnings, rejected_key, fallback_key, timestamp}
      }
      if (job.status !== 'processing') return
      await this.#pause(BETWEEN_LOOKS)
    }
  }

  async wait(jobId) {
    for await (const _ of this.watch(jobId)) { /* until its end */ }
    return this.get(jobId)
  }

  async #call(method, url, {body, key, again = true} = {}) {
    const headers = {...this.#headers}
    if (body !== undefined) headers['Content-Type'] = 'application/json'
    if (key !== undefined) headers['Idempotency-Key'] = key
    const request = {method, headers, body: body === undefined ? undefined : JSON.stringify(body)}
    for (const pause of [...PAUSES, null]) {
      try {
        const answer = await fetch(this.#api + url, request)
        if (answer.ok) return await answer.json()
        throw await problemOf(answer)
      } catch (error) {
        if (pause === null || !mayPass(error) || !(again || error instanceof ProblemError)) throw error
        await this.#pause(Math.max(pause, error.retryAfter ?? 0))
      }
    }
  }
}

function path(jobId) {
  return `/api/v1/jobs/${encodeURIComponent(jobId)}`
}

// fetch throws a TypeError when no answer comes.
function mayPass(error) {
  if (!(error instanceof ProblemError)) return error instanceof TypeError
  const {status} = error.problem
  return (status === 429 || status >= 500) && (error.retryAfter ?? 0) <= LONGEST_PAUSE
}

async function problemOf(answer) {
  const {status} = answer
  const after = Number(answer.headers.get('Retry-After') ?? NaN)
  const content = await answer.json().catch(() => ({}))
  const own = {type: 'about:blank', title: answer.statusText, status, code: `http_${status}`, errors: []}
  const detail = `The answer ${status} is none of the API of Pro Video.`
  const problem = content?.code ? content : {...own, detail, request_id: null}
  return new ProblemError(problem, Number.isNaN(after) ? undefined : after * 1000)
}

async function* events(body) {
  let rest = ''
  const decoder = new TextDecoder()
  for (const reader = body.getReader(); ;) {
    const {done, value} = await reader.read()
    if (done) return
    const blocks = (rest + decoder.decode(value, {stream: true})).split('\n\n')
    rest = blocks.pop()
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split('\n').map(line => [line.split(': ', 1)[0], line.slice(line.indexOf(': ') + 2)]))
      if ('data' in fields) yield {id: fields.id, event: JSON.parse(fields.data)}
    }
  }
}
