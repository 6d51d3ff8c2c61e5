"""The names of the modalities, in the order that holds everywhere, and of their sets."""

MODALITIES = ("text", "audio", "vision")

MODALITY_SETS: dict[str, tuple[str, ...]] = {
    "t": ("text",),
    "a": ("audio",),
    "v": ("vision",),
    "ta": ("text", "audio"),
    "tv": ("text", "vision"),
    "av": ("audio", "vision"),
    "tav": MODALITIES,
}
"""Every non-empty set of modalities by its short name."""
