"""The only code that opens the test split."""
