// Sounds: fetched with the token, decoded once, played one at a time and to the sample.
//
// An <audio> element cannot send a token and seeks only roughly; a buffer of the Web Audio API can
// play exactly the half second that was clicked on a map.

import { fetchSound } from "./api.js";

const KEPT = 48;
const FADE_SECONDS = 0.006;

let context = null;
let voice = null;
const decoded = new Map();

function audioContext() {
  context ??= new AudioContext();
  return context;
}

/** Promise of the AudioBuffer at a path of the server; the latest few are kept. */
export function loadSound(path) {
  const known = decoded.get(path);
  decoded.delete(path);
  const wanted = known ?? fetchSound(path).then(decodeSound);
  decoded.set(path, wanted);
  // A failure is not kept: the next press tries again.
  wanted.catch(() => decoded.delete(path));
  while (decoded.size > KEPT) decoded.delete(decoded.keys().next().value);
  return wanted;
}

/** The AudioBuffer in an ArrayBuffer of a WAV, FLAC, MP3, Ogg.. that this browser can read. */
export function decodeSound(bytes) {
  return audioContext().decodeAudioData(bytes);
}

/** Stops whatever sounds. */
export function hush() {
  voice?.stop();
}

export function isSounding() {
  return voice !== null;
}

/**
 * Plays a stretch of a buffer and stops whatever else sounds; resolves when it is over, with true
 * when it was heard to its end. `onPosition` gets seconds while it plays, and null afterwards.
 */
export async function play(buffer, { from = 0, to = buffer.duration, onPosition = () => {} } = {}) {
  hush();
  const output = audioContext();
  // Browsers start a context asleep until the first press of a key or button.
  if (output.state === "suspended") await output.resume();
  const start = Math.min(Math.max(0, from), buffer.duration);
  const length = Math.max(0.02, Math.min(to, buffer.duration) - start);
  const source = new AudioBufferSourceNode(output, { buffer });
  const gain = new GainNode(output, { gain: 0 });
  source.connect(gain).connect(output.destination);
  const now = output.currentTime;
  // A cut in the middle of a wave clicks; a few milliseconds of fading do not.
  gain.gain.setValueAtTime(0, now);
  gain.gain.linearRampToValueAtTime(1, now + FADE_SECONDS);
  gain.gain.setValueAtTime(1, now + Math.max(FADE_SECONDS, length - FADE_SECONDS));
  gain.gain.linearRampToValueAtTime(0, now + length);
  return new Promise((resolve) => {
    let frame = 0;
    const finish = (heard) => {
      if (voice !== mine) return;
      voice = null;
      cancelAnimationFrame(frame);
      source.onended = null;
      onPosition(null);
      resolve(heard);
    };
    const mine = {
      stop: () => {
        source.stop();
        finish(false);
      },
    };
    voice = mine;
    const follow = () => {
      onPosition(Math.min(start + length, start + Math.max(0, output.currentTime - now)));
      frame = requestAnimationFrame(follow);
    };
    source.onended = () => finish(true);
    source.start(now, start, length);
    follow();
  });
}

/** Loudest sample of each of `count` equal stretches of a buffer, in [0, 1]. */
export function peaks(buffer, count) {
  const samples = buffer.getChannelData(0);
  const found = new Float32Array(count);
  for (let i = 0; i < count; i += 1) {
    const end = Math.floor(((i + 1) * samples.length) / count);
    let highest = 0;
    for (let at = Math.floor((i * samples.length) / count); at < end; at += 1) {
      const size = Math.abs(samples[at]);
      if (size > highest) highest = size;
    }
    found[i] = highest;
  }
  return found;
}
