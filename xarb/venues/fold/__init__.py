"""The compiled half of the simulated venue: books, venue time, own consumption."""
