"""The steps from a user's table to splits; `datasets.files` carries them out."""
