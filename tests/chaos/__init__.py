"""The chaos program: a daemon lives through bad days, and the jobs themselves tell what it did."""
