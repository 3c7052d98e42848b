"""`pedigree doctor` and its checks."""
