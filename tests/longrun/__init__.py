"""The long run: a daemon starts a million runs, and nothing of it may grow; the jobs themselves count them."""
