"""Exports of the wide table for the tools of factor research. Layouts: docs/exports.md."""
