"""What has to be built and why: facts, what the spec wants of them, the plan, and its explanations. Pure."""
