"""The programs under measurement, each one started as a process of its own."""
