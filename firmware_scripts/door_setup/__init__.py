"""What the scripts for a terminal share. Standard library only: they run before the environment exists."""
