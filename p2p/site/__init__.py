"""What pages have in common, whoever serves them: how text from others is shown, and templates that escape it."""
