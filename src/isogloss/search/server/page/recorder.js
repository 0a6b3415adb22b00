// The microphone in, a 16 kHz mono WAV out; knows no element of the page.

import { RATE_HZ, resample, wavBlob } from "./wav.js";

const SHORTEST_SECONDS = 0.3;
// -60 dB of full scale: quieter than the noise of any open microphone, so a muted one.
const SILENT_PEAK = 0.001;
// Pauses before and after the words have no counterpart in any result and would only lower P.
const FRAME_SECONDS = 0.02;
const QUIET_SHARE = 0.04; // of the loudest frame: -28 dB
const MARGIN_SECONDS = 0.2;

/** Why nothing was recorded; `key` names the words that tell the user what to do. */
export class RecorderError extends Error {
  constructor(key) {
    super(key);
    this.name = "RecorderError";
    this.key = key;
  }
}

const REASONS = {
  NotAllowedError: "mic_denied",
  SecurityError: "mic_denied",
  NotFoundError: "mic_none",
  OverconstrainedError: "mic_none",
  NotReadableError: "mic_busy",
  AbortError: "mic_busy",
};

async function openMicrophone() {
  if (!window.isSecureContext) throw new RecorderError("mic_insecure");
  if (!navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) {
    throw new RecorderError("mic_unsupported");
  }
  try {
    // Without noise suppression a clean recording scores 0.01 higher, but one at a quarter of
    // its level with hiss of -48 dB was no longer found (a model trained on clean speech).
    return await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: false, noiseSuppression: true },
    });
  } catch (problem) {
    throw new RecorderError(REASONS[problem.name] ?? "mic_unsupported");
  }
}

/**
 * Starts recording. `onBlock` gets each block of samples and the seconds so far; `onLimit` is
 * called once when `maxSeconds` is reached. Returns {stop, cancel}: `stop` resolves with
 * {blob, seconds}, or throws a RecorderError for a take that is too short or silent.
 */
export async function startRecording({ maxSeconds, onBlock, onLimit }) {
  const stream = await openMicrophone();
  const context = new AudioContext();
  const release = () => {
    for (const track of stream.getTracks()) track.stop();
    if (context.state !== "closed") context.close();
  };
  let node;
  try {
    await context.audioWorklet.addModule(new URL("recorder_worklet.js", import.meta.url));
    if (context.state === "suspended") await context.resume();
    node = new AudioWorkletNode(context, "isogloss-collector", { numberOfOutputs: 0 });
  } catch {
    release();
    throw new RecorderError("mic_unsupported");
  }
  const blocks = [];
  let length = 0;
  let ended = null;
  let limited = false;
  const end = new Promise((resolve) => {
    ended = resolve;
  });
  node.port.onmessage = ({ data }) => {
    if (data.length === 0) {
      ended();
      return;
    }
    blocks.push(data);
    length += data.length;
    const seconds = length / context.sampleRate;
    onBlock(data, seconds);
    if (seconds >= maxSeconds && !limited) {
      limited = true;
      onLimit();
    }
  };
  context.createMediaStreamSource(stream).connect(node);
  return {
    cancel: release,
    stop: async () => {
      node.port.postMessage("end");
      // A microphone that was pulled out stops the thread, which then never answers.
      await Promise.race([end, new Promise((resolve) => setTimeout(resolve, 500))]);
      const rateHz = context.sampleRate;
      release();
      return take(blocks, Math.min(length, Math.floor(maxSeconds * rateHz)), rateHz);
    },
  };
}

async function take(blocks, length, rateHz) {
  const samples = new Float32Array(length);
  let at = 0;
  let highest = 0;
  for (const block of blocks) {
    const part = block.subarray(0, length - at);
    samples.set(part, at);
    at += part.length;
    for (const value of part) highest = Math.max(highest, Math.abs(value));
  }
  if (length / rateHz < SHORTEST_SECONDS) throw new RecorderError("mic_short");
  if (highest < SILENT_PEAK) throw new RecorderError("mic_silent");
  const resampled = await resample(withoutPauses(samples, rateHz), rateHz);
  return { blob: wavBlob(resampled), seconds: resampled.length / RATE_HZ };
}

/** Samples less the quiet before the first loud frame and after the last, a margin kept. */
function withoutPauses(samples, rateHz) {
  const frame = Math.max(1, Math.round(FRAME_SECONDS * rateHz));
  const loudness = [];
  for (let at = 0; at < samples.length; at += frame) {
    const part = samples.subarray(at, at + frame);
    loudness.push(Math.sqrt(part.reduce((sum, value) => sum + value * value, 0) / part.length));
  }
  const least = QUIET_SHARE * Math.max(...loudness);
  const first = loudness.findIndex((value) => value >= least);
  const last = loudness.findLastIndex((value) => value >= least);
  const margin = Math.round(MARGIN_SECONDS * rateHz);
  return samples.slice(Math.max(0, first * frame - margin), (last + 1) * frame + margin);
}
