"""The one door: the `pedigree` command, the demo, and the local stack."""
