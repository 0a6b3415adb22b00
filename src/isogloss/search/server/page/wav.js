// Samples in, a 16 kHz mono 16-bit WAV file out: the server then needs no decoder of a browser's
// own formats.

export const RATE_HZ = 16000;

/** Samples at another rate, through the browser's own band-limited resampler. */
export async function resample(samples, fromHz, toHz = RATE_HZ) {
  if (fromHz === toHz || samples.length === 0) return samples;
  const length = Math.max(1, Math.round((samples.length * toHz) / fromHz));
  const offline = new OfflineAudioContext(1, length, toHz);
  const buffer = offline.createBuffer(1, samples.length, fromHz);
  buffer.copyToChannel(samples, 0);
  const source = new AudioBufferSourceNode(offline, { buffer });
  source.connect(offline.destination);
  source.start();
  return (await offline.startRendering()).getChannelData(0);
}

/** A Blob of type audio/wav; samples outside [-1, 1] are cut. */
export function wavBlob(samples, rateHz = RATE_HZ) {
  const bytes = new ArrayBuffer(44 + samples.length * 2);
  const view = new DataView(bytes);
  const write = (at, letters) => {
    for (let i = 0; i < letters.length; i += 1) view.setUint8(at + i, letters.charCodeAt(i));
  };
  write(0, "RIFF");
  view.setUint32(4, 36 + samples.length * 2, true);
  write(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rateHz, true);
  view.setUint32(28, rateHz * 2, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  write(36, "data");
  view.setUint32(40, samples.length * 2, true);
  for (let i = 0; i < samples.length; i += 1) {
    const cut = Math.max(-1, Math.min(1, samples[i]));
    view.setInt16(44 + i * 2, Math.round(cut < 0 ? cut * 0x8000 : cut * 0x7fff), true);
  }
  return new Blob([bytes], { type: "audio/wav" });
}
