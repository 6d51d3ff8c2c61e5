"""One short script per DVC stage: read params, call `pipeline`, write one artifact."""
