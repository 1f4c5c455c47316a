"""Where a training run is followed: the screen, ``history.csv``, what ``tracker=`` adds."""
