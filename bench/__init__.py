"""Opponents and data for the factor benchmark."""
