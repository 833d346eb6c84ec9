"""What tests of pages share, whoever serves them: Chromium, and names that try to be more than names."""
