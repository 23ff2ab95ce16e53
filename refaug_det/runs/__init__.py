"""How a run starts, survives and is recorded."""
