#!/bin/sh
# The search behind Table 1 of the paper, then the table beside the paper's figures.
# What follows is for maf-run: scripts/table1.sh dataset.download=true launch=joblib
maf-run -m +sweep=table1 "$@"
status=$?
maf-table
exit $status
