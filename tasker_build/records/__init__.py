"""The record folder: what was built here, how runs went, and the Git revision they were of."""
