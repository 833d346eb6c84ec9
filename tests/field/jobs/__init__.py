"""What users of other systems met when they computed, tried on Shoal."""
