"""Files of other schedulers → job files, with a proof that both mean the same, and jobs → a crontab (pure)."""
