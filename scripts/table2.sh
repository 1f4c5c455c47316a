#!/bin/sh
# The search behind Table 2 of the paper, then the table beside the paper's figures.
# What follows is for maf-run: scripts/table2.sh dataset.download=true launch=joblib
maf-run -m +sweep=table2 "$@"
status=$?
maf-table
exit $status
