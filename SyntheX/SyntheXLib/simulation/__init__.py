"""A data set from cases: the shard job and its executors."""
