"""Any share read by byte ranges, fetched as needed, kept within a bound."""
