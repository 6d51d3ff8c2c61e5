"""openSMILE by its C interface: the numbers of `opensmile.Smile`, without the table that it makes of every clip."""

import ctypes
import re
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import model_validator

from pipeline.data.streams import AUDIO_RATE
from pipeline.errors import DataError
from pipeline.extractors.protocol import Features, PooledOptions, Weights, pool

WINDOW = AUDIO_RATE * 60 // 1000
"""Samples of the longest window of both feature sets; openSMILE has nothing to say of a shorter recording."""

Level = Literal["lld", "functionals"]


class SmileOptions(PooledOptions):
    """Options of an extractor by openSMILE.

    Args:
        level: `lld`, low-level descriptors every 10 ms, or `functionals`, one vector of statistics of the whole
            recording.
        hop: seconds between steps, a multiple of 0.01; above 0.01 a step is the mean of consecutive frames. There are
            no steps to average at level `functionals`, so `hop` cannot be given there.
    """

    level: Level

    @model_validator(mode="after")
    def _no_hop_of_one_vector(self) -> Self:
        if self.level == "functionals" and "hop" in self.model_fields_set and self.frames_per_step != 1:
            raise ValueError(f"hop is {self.hop} and level functionals, expected no hop: there is one vector in all")
        return self


class SmileExtractor:
    """What `egemaps` and `compare2016` share: subclasses name the feature set and its widths.

    Args:
        feature_set: member of `opensmile.FeatureSet`.
        dims: width of every level.
    """

    stream: Literal["audio"] = "audio"
    checkpoint = None
    shard = 64
    network = None
    has_tokens = False
    feature_set: ClassVar[str]
    dims: ClassVar[Mapping[Level, int]]

    def __init__(self, options: SmileOptions, weights: Weights, attrs: Mapping[str, Any]) -> None:
        """Take level and hop from `options`."""
        self.dim = self.dims[options.level]
        self.hop = options.hop if options.level == "lld" else None
        self.version = f"opensmile {version('opensmile')}, {type(self).__module__.rpartition('.')[2]} 1"
        self._options = options

    def prepare(self, utt_id: str, content: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
        """The samples `(L,)` int16, L >= 960: a shorter recording is followed by silence."""
        return np.pad(content, (0, max(0, WINDOW - len(content))))

    def extract(self, prepared: Sequence[npt.NDArray[np.int16]]) -> list[Features]:
        """Values `(T, dim)` float32 for every recording; T = 1 at level `functionals`."""
        frames = (self._smile.run(pcm).reshape(-1, self.dim) for pcm in prepared)
        return [Features(pool(values, self._options.frames_per_step)) for values in frames]

    @cached_property
    def _smile(self) -> "Smile":
        return Smile(self.feature_set, self._options.level)


class Smile:
    """One feature set at one level; every recording gets a fresh instance of openSMILE, so none leaves a trace.

    Resetting a used one instead would save a twentieth of the time.

    Args:
        feature_set: member of `opensmile.FeatureSet`.
        level: what to compute.
    """

    def __init__(self, feature_set: str, level: Level) -> None:
        """Find the configuration files of the package."""
        import opensmile
        from opensmile.core import lib
        from opensmile.core.config import config

        own = opensmile.Smile(
            opensmile.FeatureSet[feature_set],
            opensmile.FeatureLevel.LowLevelDescriptors if level == "lld" else opensmile.FeatureLevel.Functionals,
        )
        root = own.default_config_root
        self._lib = lib
        self._config = own.config_path
        self._source = config.EXTERNAL_SOURCE_COMPONENT
        parts = [own.feature_level.value] if level == "lld" else _parts(Path(own.config_path))
        self._sinks = [f"sink{number}" for number in range(len(parts))]
        # openSMILE finds a configuration by its name only; this one is gone with this object.
        self._sink_file = tempfile.NamedTemporaryFile("w", suffix=".conf")  # noqa: SIM115
        self._sink_file.write(_sink_config(dict(zip(self._sinks, parts, strict=True))))
        self._sink_file.flush()
        self._settings = {
            "source": f"{root}/{config.EXTERNAL_INPUT_CONFIG}",
            "sink": self._sink_file.name,
            "bufferModeRbConf": f"{root}/shared/BufferModeRb.conf.inc",
            "frameModeFunctionalsConf": f"{root}/shared/FrameModeFunctionals.conf.inc",
            "sampleRate": AUDIO_RATE,
            "nBits": 16,
        }

    def run(self, pcm: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
        """Features of one recording `(L,)` int16 at 16 kHz, L >= 960, as one row of numbers `(T * D,)` float32."""
        smile = self._lib.OpenSMILE()
        try:
            smile.initialize(config_file=self._config, options=self._settings)
            found = [self._collect(smile, sink) for sink in self._sinks]
            smile.external_audio_source_write_data(self._source, pcm.tobytes())
            smile.external_audio_source_set_eoi(self._source)
            smile.run()
        finally:
            smile.free()
        return np.frombuffer(b"".join(vector for part in found for vector in part), np.float32)

    def _collect(self, smile: Any, sink: str) -> list[bytes]:
        """The list that a sink's vectors go to; the package's own setter wraps each in an array, which takes longer."""
        found: list[bytes] = []

        def take(data: Any, steps: int, width: int, times: Any, unused: Any) -> int:
            found.append(ctypes.string_at(data, 4 * steps * width))
            return 1

        callback = self._lib.ExternalSinkCallbackEx(take)
        smile._callbacks.append(callback)  # for as long as openSMILE may call it
        setter = self._lib.smileapi.smile_extsink_set_data_callback_ex
        smile._check_smile_result(setter(smile._smileobj, sink.encode(), callback, None))
        return found


def _parts(config: Path) -> list[str]:
    """The groups of functionals that a feature set puts together, in their order.

    A sink of its own for each: openSMILE looks up the name of every element of a sink, in a time that grows with the
    square of their number, which for the 6373 of ComParE is a seventh of the whole.
    """
    text = config.read_text(encoding="utf-8")
    found = re.search(
        r"^\[\w*funcconcat:cVectorConcat\]\s+reader\.dmLevel *= *(\S+)\s+writer\.dmLevel *= *func$", text, re.M
    )
    if not found:
        raise DataError(
            f"{config}: no concatenation to level func, expected that of opensmile 2.6; install that version"
        )
    return found[1].split(";")


def _sink_config(levels: Mapping[str, str]) -> str:
    """Configuration of a sink for every level, by name."""
    instances = "".join(f"instance[{name}].type=cExternalSink\n" for name in levels)
    sinks = "".join(f"[{name}:cExternalSink]\nreader.dmLevel={level}\nblocksize=1\n" for name, level in levels.items())
    return f"[componentInstances:cComponentManager]\n{instances}{sinks}"
