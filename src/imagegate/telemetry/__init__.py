"""What this process tells of itself: counts and gauges, log lines, spans. No label can take endless values."""

from imagegate.telemetry.metrics import OfferingReading, Reading, Telemetry

__all__ = ["OfferingReading", "Reading", "Telemetry"]
