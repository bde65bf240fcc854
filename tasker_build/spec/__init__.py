"""The spec: YAML text in, a validated Stack of frozen values out. Opens no file and starts nothing."""
