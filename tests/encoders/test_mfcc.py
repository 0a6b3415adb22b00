from __future__ import annotations

import numpy as np
import pytest

import export_makers
from isogloss.encoders.mfcc import mfcc

knf = pytest.importorskip("kaldi_native_fbank")


def test_cepstra_equal_those_of_kaldi_native_fbank() -> None:
    # The options that sherpa-onnx sets for TeleSpeech models.
    options = knf.MfccOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = True
    options.frame_opts.samp_freq = 16000
    options.mel_opts.num_bins = 40
    options.mel_opts.low_freq = 40
    options.mel_opts.high_freq = -200
    options.num_ceps = 40
    options.use_energy = False
    for wave in export_makers.utterances(3):
        samples = wave * np.float32(32768)
        kaldi = knf.OnlineMfcc(options)
        kaldi.accept_waveform(16000, samples.tolist())
        kaldi.input_finished()
        wanted = np.stack([kaldi.get_frame(i) for i in range(kaldi.num_frames_ready)])
        found = mfcc(samples)
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-2)


def test_too_few_samples_are_refused() -> None:
    assert mfcc(np.ones(400, dtype=np.float32)).shape == (1, 40)
    with pytest.raises(ValueError, match="399 samples are less than one frame of 400"):
        mfcc(np.ones(399, dtype=np.float32))
