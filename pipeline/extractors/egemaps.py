"""eGeMAPSv02 by openSMILE: 25 descriptors of voice every 10 ms, or 88 statistics of the whole recording.

Eyben et al., "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for Voice Research and Affective Computing",
IEEE Transactions on Affective Computing 7(2), 2016, https://doi.org/10.1109/TAFFC.2015.2457417.

Values are openSMILE's own, bit for bit, unscaled: pitch is 0 in unvoiced frames, formant amplitudes are -201 where
there is no pitch. At level `lld`, the default, n >= 960 samples (its longest window, 60 ms) give
(n - 960) // 160 + 2 frames; at level `functionals` there is one step. openSMILE gives none for less than 960 samples: a
shorter recording is followed by silence up to that. Every recording is computed by itself.
"""

from collections.abc import Mapping
from typing import ClassVar

from pipeline.extraction.smile import Level, SmileExtractor, SmileOptions


class Options(SmileOptions):
    """Options of `egemaps`: `level`, by default `lld`, and `hop`."""

    level: Level = "lld"


class Egemaps(SmileExtractor):
    """25 features at 100 Hz, or means over `hop` seconds; at level `functionals` one vector of 88."""

    feature_set = "eGeMAPSv02"
    dims: ClassVar[Mapping[Level, int]] = {"lld": 25, "functionals": 88}
