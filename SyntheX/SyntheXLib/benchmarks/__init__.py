"""The published benchmarks as studies: their runs, their folds, and our table beside the paper's."""
