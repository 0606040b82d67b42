"""Label stores: one protocol (`base`), SQLite for a run's own file, PostgreSQL for teams."""
