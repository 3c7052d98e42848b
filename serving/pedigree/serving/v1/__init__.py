"""Feast's wire format as messages of our own. Generated from the `.proto` files beside it; never edited by hand."""
