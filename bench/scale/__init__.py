"""The warehouse at its real size: a generator of lakes, and what builds of them cost."""
