// Runs in the audio thread: gathers the microphone's blocks of 128 samples into larger ones, so
// that the page hears some twenty messages a second instead of hundreds.

const BLOCK = 2048;

class Collector extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(BLOCK);
    this.filled = 0;
    this.port.onmessage = () => {
      // Asked to finish: what is left goes out, then an empty block as the end.
      this.port.postMessage(this.block.slice(0, this.filled));
      this.port.postMessage(new Float32Array(0));
      this.filled = 0;
      this.over = true;
    };
  }

  process(inputs) {
    if (this.over) return false;
    const channels = inputs[0];
    if (channels.length === 0) return true;
    for (let i = 0; i < channels[0].length; i += 1) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      this.block[this.filled] = sum / channels.length;
      this.filled += 1;
      if (this.filled === BLOCK) {
        this.port.postMessage(this.block.slice());
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("isogloss-collector", Collector);
