"""Where a training run is followed: ``history.csv`` always, and what ``tracker=`` adds."""
