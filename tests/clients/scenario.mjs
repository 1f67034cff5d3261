// node scenario.mjs API VIDEO AUDIO: the client's calls in their order; prints what they found as JSON.
import {openAsBlob} from 'node:fs'
import {ProblemError, ProVideo} from '../../clients/typescript/client.js'

const [api, video, audio] = process.argv.slice(2)
const client = new ProVideo(api)
const progress = []
const onProgress = (arrived, size) => progress.push([arrived, size])
const sources = []
for (const file of [video, audio]) {
  const upload = await client.upload(await openAsBlob(file), file, {onProgress})
  sources.push(upload.source)
}
const audioInput = {refId: 'a'}
const request = {
  video: sources[0],
  audios: {a: sources[1]},
  segments_data: [{startTime: 0.2, endTime: 1.2, audioInput}],
  display_name: 'From Node',
}
const wrong = {...request, segments_data: [{startTime: 0.2, endTime: 0.1, audioInput}]}
const problem = await client.create(wrong).catch(error => error)
const estimate = await client.estimate(request)
const {job_id} = await client.create(request)
const events = []
for await (const event of client.watch(job_id)) events.push(event)
const job = await client.get(job_id)
const conflict = await client.accept(job_id).catch(error => error)
const {jobs} = await client.list({status: 'completed', limit: 100})
console.log(JSON.stringify({
  progress,
  isProblem: problem instanceof ProblemError,
  problem: problem.problem,
  conflict: conflict.problem,
  estimate,
  events,
  job,
  listed: jobs.some(each => each.job_id === job_id),
}))
