"""Live trading: the engine on markets as they happen, on paper or for real, into one log that proves what it did."""
