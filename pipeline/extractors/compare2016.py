"""ComParE 2016 by openSMILE: 6373 statistics of the whole recording, or the 65 descriptors behind them every 10 ms.

Schuller et al., "The INTERSPEECH 2016 Computational Paralinguistics Challenge: Deception, Sincerity and Native
Language", Interspeech 2016, https://doi.org/10.21437/Interspeech.2016-129; the descriptors are explained in Weninger et
al., "On the Acoustics of Emotion in Audio: What Speech, Music, and Sound have in Common", Frontiers in Psychology 4,
2013, https://doi.org/10.3389/fpsyg.2013.00292.

Values are openSMILE's own, bit for bit, unscaled: scales differ by orders of magnitude between features. At level
`functionals`, the default, there is one step; at level `lld`, n >= 960 samples (its longest window, 60 ms) give
(n - 960) // 160 + 2 frames. openSMILE gives none for less than 960 samples: a shorter recording is followed by silence
up to that. Every recording is computed by itself.
"""

from collections.abc import Mapping
from typing import ClassVar

from pipeline.extraction.smile import Level, SmileExtractor, SmileOptions


class Options(SmileOptions):
    """Options of `compare2016`: `level`, by default `functionals`, and `hop` where it is `lld`."""

    level: Level = "functionals"


class Compare2016(SmileExtractor):
    """One vector of 6373 features; at level `lld` 65 features at 100 Hz, or means over `hop` seconds."""

    feature_set = "ComParE_2016"
    dims: ClassVar[Mapping[Level, int]] = {"lld": 65, "functionals": 6373}
