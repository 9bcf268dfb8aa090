"""Jobs: m.job(...), its runs, its files in somebody's hands, and what can be said of it."""
