"""The engine: what we ask of it (api), how the real one answers (docker), and one in memory for tests and rehearsals."""
