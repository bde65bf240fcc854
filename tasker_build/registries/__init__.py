"""What registries say: which image a reference stands for, and which checksums a tool has."""
