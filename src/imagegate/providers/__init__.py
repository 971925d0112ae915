"""How providers speak: one adapter each, independent of each other."""
