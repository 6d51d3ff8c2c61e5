"""Independent jobs (shards of clips, trainings): in this process for one, in local worker processes for more."""
