"""Events of async jobs, sent to the caller's own address as Standard Webhooks says."""
