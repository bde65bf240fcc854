"""The spec: YAML text in, a validated Spec of frozen values out. Opens no file and starts nothing."""
