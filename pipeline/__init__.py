"""Lacuna's library: emotion recognition with missing modalities, from raw video to AUILC. It knows nothing of DVC."""
