"""Writes mp4 files (H.264 and AAC) whose bytes depend on their content only."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

_AUDIO_BITS_PER_S = 48_000
# x264's bytes depend on the number of threads, and its macroblock tree gives other bytes at every run for pictures less
# than eight macroblocks wide (measured with core 165 at 48 and 64 pixels).
_H264 = {"preset": "veryfast", "crf": "21", "threads": "1", "x264-params": "mbtree=0"}


def write_mp4(
    path: Path,
    frames: Sequence[npt.NDArray[np.uint8]],
    fps: int,
    samples: npt.NDArray[np.int16],
    rate: int,
) -> None:
    """Write one clip.

    Args:
        path: of the file.
        frames: RGB pictures `(height, width, 3)`, both sides even.
        fps: frames per second.
        samples: mono sound `(samples,)`.
        rate: of the sound, Hz.
    """
    # "bitexact" leaves out creation time and library versions.
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact", "movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=fps, options=_H264)
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=rate, layout="mono")
        audio.bit_rate, audio.options = _AUDIO_BITS_PER_S, {"aac_coder": "fast"}
        for stream in (video, audio):
            stream.codec_context.flags |= av.codec.context.Flags.bitexact
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        sound = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        sound.sample_rate, sound.pts, sound.time_base = rate, 0, Fraction(1, rate)
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
