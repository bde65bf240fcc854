"""What is known to be wrong or weak before anything is built."""
