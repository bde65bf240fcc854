"""Building: what a build is made from, the process that runs it, what it says, and who runs many of them at once."""
