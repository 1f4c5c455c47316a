#!/bin/sh
# The best densities of MINIBOONE: a mixture of 13 models, then one model that is trained on rows drawn from it.
# Two hours of one core; stopped, it goes on. What follows is for every maf-run: scripts/best_miniboone.sh threads=1
# RESULTS is the folder of the results, ./results by default.
set -e
results=${RESULTS:-results}
run() { maf-run "$@" dataset=miniboone paths.results_dir="$results"; }
mog=$(run "$@" -m model=maf_mog model.size=0 model.scale=bounded trainer=small_table seed=0,1,2,3,4)
nsf=$(run "$@" -m model=nsf trainer=nsf trainer.batch_size=256 trainer.learning_rate=1e-3 \
    trainer.max_updates=20000 trainer.validate_every=1000 seed=0,1,2,3,4,5,6,7)
teachers=$(printf '%s\n%s' "$mog" "$nsf" | paste -sd,)
run "$@" model=maf_mog "model.hidden=[1024]" model.scale=bounded trainer=distilled trainer.max_epochs=28 \
    "trainer.teachers=[$teachers]"
maf-table mixture $mog $nsf --results "$results"
