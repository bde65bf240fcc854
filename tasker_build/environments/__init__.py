"""The environments of a spec on an engine: stacks, their databases, and what a cleanup removes."""
