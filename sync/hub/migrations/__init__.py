"""The hub's database, step by step; `storage` runs what is due when it opens."""
