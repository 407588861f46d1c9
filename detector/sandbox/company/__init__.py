"""A synthetic company for trying and demonstrating the detector: it is not what detection quality is judged on.

    company = Company(employees=200, seed=1, end=now)     # `end`: where the history ends and the live stream begins
    company.plant("story")
    company.write_context(folder)
    company.write_history(path, days=28)
    company.live(send, time, stop, speed=600)

The same (seed, employees, end) gives the same bytes. A longer history ends with the shorter one.
"""

from detector.sandbox.company.company import Company, Day, live_start
from detector.sandbox.company.incidents import INCIDENTS, Planted

__all__ = ["INCIDENTS", "Company", "Day", "Planted", "live_start"]
