"""Values and events → text. Nothing here prints or decides; `cli` does the one, the core the other."""
