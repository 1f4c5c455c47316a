#!/bin/sh
# The search behind Table 2 of the paper, then the table beside the paper's figures.
# What follows is for maf-run: scripts/table2.sh dataset.download=true launch=joblib
# RESULTS is the folder of the results, ./results by default.
maf-run -m +sweep=table2 paths.results_dir="${RESULTS:-results}" "$@"
status=$?
maf-table table2 --results "${RESULTS:-results}"
exit $status
