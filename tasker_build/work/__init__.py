"""What the commands do, one use-case a module; what it looks like is the business of cli/ and view/."""
