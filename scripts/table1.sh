#!/bin/sh
# The search behind Table 1 of the paper, then the table beside the paper's figures.
# What follows is for maf-run: scripts/table1.sh dataset.download=true launch=joblib
# RESULTS is the folder of the results, ./results by default.
maf-run -m +sweep=table1 paths.results_dir="${RESULTS:-results}" "$@"
status=$?
maf-table table1 --results "${RESULTS:-results}"
exit $status
