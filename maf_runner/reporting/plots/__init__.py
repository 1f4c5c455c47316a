"""Pictures drawn from arrays, in one style."""
