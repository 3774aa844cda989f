"""The hub (`fleethub`): who may enter where, said to many terminals; what happened there, kept."""
